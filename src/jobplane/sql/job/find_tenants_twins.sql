-- As job/find_twins, for jobs of tenants among others. Two parts, because an index is asked for a value or for none,
-- never for either; and not whoever holds the key, who may be thousands. Confirmed as there.
WITH confirmed AS MATERIALIZED (
    SELECT CASE
        WHEN pg_catalog.current_setting('synchronous_standby_names') OPERATOR(pg_catalog.<>) ''
        THEN pg_catalog.pg_logical_emit_message(true, 'jobplane', '')
    END AS lsn
)
SELECT
    job.id, job.type, job.status, job.unique_key, job.tenant,
    {time_text job.scheduled_at} AS scheduled_at,
    {time_text job.created_at} AS created_at,
    -- For how many seconds it has been there. Whoever looks after a lost answer tells by it whether the job is theirs.
    pg_catalog.date_part('epoch', pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) {time job.created_at}) AS age
FROM (
    SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
    FROM {schema}.jobs
    WHERE id OPERATOR(pg_catalog.=) ANY (:ids::pg_catalog.uuid[])
    UNION
    SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
    FROM {schema}.jobs
    WHERE unique_key OPERATOR(pg_catalog.=) ANY (:unique_keys::pg_catalog.text[])
        AND tenant IS NULL
        AND status OPERATOR(pg_catalog.=) ANY (ARRAY['pending', 'running'])
    UNION
    SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
    FROM {schema}.jobs
    WHERE unique_key OPERATOR(pg_catalog.=) ANY (:unique_keys::pg_catalog.text[])
        AND tenant OPERATOR(pg_catalog.=) ANY (:tenants::pg_catalog.text[])
        AND status OPERATOR(pg_catalog.=) ANY (ARRAY['pending', 'running'])
) AS job
CROSS JOIN confirmed
