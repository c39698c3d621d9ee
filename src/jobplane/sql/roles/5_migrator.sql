-- The migrator acts as the owner: jobplane migrate does SET ROLE by itself. Said once only, so that the migrator may run
-- all of this again after a migration, without the right to hand out its own membership.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT
        FROM pg_auth_members
        WHERE roleid = '{owner}'::regrole AND member = '{migrator}'::regrole
    ) THEN
        GRANT {owner} TO {migrator};
    END IF;
END $$;
