-- As job/find_twins, for jobs of tenants among others. Two parts, because an index is asked for a value or for none,
-- never for either; and not whoever holds the key, who may be thousands. Confirmed as there.
WITH confirmed AS MATERIALIZED (
    SELECT CASE
        WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'jobplane', '')
    END AS lsn
)
SELECT
    job.id, job.type, job.status, job.unique_key, job.tenant,
    -- Times as in job/find_twins.
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
    UNION
    SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
    FROM {schema}.jobs
    WHERE unique_key = ANY(:unique_keys::text[]) AND tenant = ANY(:tenants::text[]) AND status IN ('pending', 'running')
) AS job
CROSS JOIN confirmed
