-- Since when the history is kept without a break; no row when it is not kept. Where the comment of history/on is gone,
-- nothing is known before now.
SELECT
    COALESCE(
        (substring(obj_description(oid, 'pg_trigger') FROM '^history kept since "([0-9T:.-]+)"$') || '+00')::timestamptz,
        now()
    ) AS since
FROM pg_catalog.pg_trigger
WHERE tgrelid = to_regclass('{schema}.jobs') AND tgname = 'record_job_change' AND tgenabled <> 'D'
