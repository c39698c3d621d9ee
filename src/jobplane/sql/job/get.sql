-- One job, whole.
SELECT
    id, type, payload::text AS payload, status, attempts, max_attempts, last_error, scheduled_at, started_at, completed_at,
    created_at, queue, priority, lease_epoch, lease_expires_at, worker_id, unique_key, tags, result::text AS result,
    progress::text AS progress, cancel_requested_at, tenant
FROM {schema}.jobs
WHERE id = :id::uuid
