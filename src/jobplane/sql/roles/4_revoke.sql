-- Nothing for PUBLIC, now and of what later migrations make; and of ours nothing but what follows.
REVOKE ALL ON SCHEMA {schema} FROM PUBLIC, {enqueue}, {worker}, {api}, {viewer};
DO $$
DECLARE
    thing record;
BEGIN
    FOR thing IN
        SELECT oid::regclass AS name
        FROM pg_class
        WHERE relnamespace = '{schema}'::regnamespace AND relname IN ({tables})
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC, {enqueue}, {worker}, {api}, {viewer}', thing.name);
    END LOOP;
    FOR thing IN
        SELECT oid::regprocedure AS name
        FROM pg_proc
        WHERE pronamespace = '{schema}'::regnamespace AND proname IN ({functions})
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, {enqueue}, {worker}, {api}, {viewer}', thing.name);
    END LOOP;
END $$;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON TABLES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON SEQUENCES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {owner} REVOKE ALL ON SCHEMAS FROM PUBLIC;
