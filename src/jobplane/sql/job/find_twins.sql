-- The jobs that stood in the way of an insert: the same id, or an unfinished job with the same unique key. Keys are each
-- tenant's own; these are the keys of no tenant.
-- Whoever is told of such a job takes it for durable, though the commit that made it may have lost its wait for a
-- synchronous standby. Where there is one, this writes to the log, so that its own commit waits for what came before.
WITH confirmed AS MATERIALIZED (
    SELECT CASE
        WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'jobplane', '')
    END AS lsn
)
SELECT
    job.id, job.type, job.status, job.unique_key, job.tenant,
    -- -infinity and years that Python does not know, which only a foreign producer writes, read as the nearest that it does.
    LEAST(GREATEST(job.scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    LEAST(GREATEST(job.created_at, '0001-02-01Z'), '9999-11-30Z') AS created_at,
    -- For how many seconds it has been there. Whoever looks after a lost answer tells by it whether the job is theirs.
    extract(epoch FROM clock_timestamp() - LEAST(GREATEST(job.created_at, '0001-02-01Z'), '9999-11-30Z'))::float8 AS age
FROM (
    SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
    FROM {schema}.jobs
    WHERE id = ANY(:ids::uuid[])
    UNION
    SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
    FROM {schema}.jobs
    WHERE unique_key = ANY(:unique_keys::text[]) AND tenant IS NULL AND status IN ('pending', 'running')
) AS job
CROSS JOIN confirmed
