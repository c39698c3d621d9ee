-- Drops the schema only when nothing else lives in it: RESTRICT refuses otherwise, so a shared schema stays.
DO $$
BEGIN
    DROP SCHEMA {schema} RESTRICT;
EXCEPTION WHEN dependent_objects_still_exist THEN
    RAISE NOTICE 'schema kept: it holds tables that are not jobplane''s';
END $$;
