-- Whether this role cancels and retries by itself, or through the functions of the tables' owner. Without such functions
-- there is only the one way, and what it lacks is said there.
SELECT
    has_column_privilege('{schema}.jobs', 'cancel_requested_at', 'UPDATE')
    OR to_regprocedure('{schema}.cancel_job(uuid)') IS NULL AS may
