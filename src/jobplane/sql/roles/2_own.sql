-- Everything belongs to the owner, as whom nobody logs in. Whoever owned it stays a member, so that what runs as that
-- role goes on; REVOKE the membership once nothing does.
DO $$
DECLARE
    jobs regclass := '{schema}.jobs';
    before oid := (SELECT relowner FROM pg_class WHERE oid = jobs);
    owner oid := (SELECT oid FROM pg_roles WHERE rolname = '{owner_name}');
    thing record;
BEGIN
    IF before <> owner AND NOT (SELECT rolsuper FROM pg_roles WHERE oid = before) THEN
        EXECUTE format('GRANT {owner} TO %I', pg_get_userbyid(before));
    END IF;
    GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner};
    -- A schema that was there before jobplane keeps its owner.
    IF (SELECT nspowner FROM pg_namespace WHERE oid = '{schema}'::regnamespace) = before AND before <> owner THEN
        ALTER SCHEMA {schema} OWNER TO {owner};
    END IF;
    -- Only what has another owner: ALTER takes the strongest lock, also where it changes nothing.
    FOR thing IN
        SELECT oid::regclass AS name, CASE relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class
        WHERE relnamespace = '{schema}'::regnamespace AND relname IN ({tables}) AND relowner <> owner
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO {owner}', thing.kind, thing.name);
    END LOOP;
    FOR thing IN
        SELECT oid::regprocedure AS name
        FROM pg_proc
        WHERE pronamespace = '{schema}'::regnamespace AND proname IN ({functions}) AND proowner <> owner
    LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO {owner}', thing.name);
    END LOOP;
END $$;
