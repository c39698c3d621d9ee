-- One job, whole. Runs on callers' connections too: see job/insert.
SELECT
    id, type, payload::pg_catalog.text AS payload, status, attempts, max_attempts, last_error,
    {time_text scheduled_at} AS scheduled_at,
    {time_text started_at} AS started_at,
    {time_text completed_at} AS completed_at,
    {time_text created_at} AS created_at,
    queue, priority, lease_epoch,
    {time_text lease_expires_at} AS lease_expires_at,
    worker_id, unique_key, tags, result::pg_catalog.text AS result,
    progress::pg_catalog.text AS progress,
    {time_text cancel_requested_at} AS cancel_requested_at,
    tenant
FROM {schema}.jobs
WHERE id OPERATOR(pg_catalog.=) :id::pg_catalog.uuid
