-- Six group roles, which cannot log in and have no password: grant them to the roles that do.
DO $$
DECLARE
    wanted text;
    there pg_roles;
BEGIN
    FOREACH wanted IN ARRAY ARRAY[{names}] LOOP
        SELECT * INTO there FROM pg_roles WHERE rolname = wanted;
        IF NOT FOUND THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        -- Somebody's own role of that name would be handed rights, or hand out its own.
        ELSIF there.rolcanlogin OR there.rolsuper OR there.rolbypassrls THEN
            RAISE EXCEPTION 'there is a role % that can log in, or is above all rights: choose another --prefix', wanted
                USING ERRCODE = 'duplicate_object';
        END IF;
    END LOOP;
END $$;
