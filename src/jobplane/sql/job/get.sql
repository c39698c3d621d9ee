-- One job, whole.
SELECT
    id, type, payload::text AS payload, status, attempts, max_attempts, last_error,
    -- -infinity and years that Python does not know, which only a foreign producer writes, read as the nearest that it does.
    LEAST(GREATEST(scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    CASE WHEN started_at IS NOT NULL THEN LEAST(GREATEST(started_at, '0001-02-01Z'), '9999-11-30Z') END AS started_at,
    CASE WHEN completed_at IS NOT NULL THEN LEAST(GREATEST(completed_at, '0001-02-01Z'), '9999-11-30Z') END AS completed_at,
    LEAST(GREATEST(created_at, '0001-02-01Z'), '9999-11-30Z') AS created_at,
    queue, priority, lease_epoch,
    CASE WHEN lease_expires_at IS NOT NULL THEN LEAST(GREATEST(lease_expires_at, '0001-02-01Z'), '9999-11-30Z') END AS lease_expires_at,
    worker_id, unique_key, tags, result::text AS result,
    progress::text AS progress,
    CASE WHEN cancel_requested_at IS NOT NULL THEN LEAST(GREATEST(cancel_requested_at, '0001-02-01Z'), '9999-11-30Z') END AS cancel_requested_at,
    tenant
FROM {schema}.jobs
WHERE id = :id::uuid
