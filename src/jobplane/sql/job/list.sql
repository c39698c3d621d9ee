-- One page of jobs, newest first. A filter that is NULL lets everything pass.
SELECT
    id, type, payload::text AS payload, status, attempts, max_attempts, last_error, scheduled_at, started_at, completed_at,
    created_at, queue, priority, lease_epoch, lease_expires_at, worker_id, unique_key, tags, result::text AS result,
    progress::text AS progress, cancel_requested_at, tenant
FROM {schema}.jobs
WHERE (:status::text IS NULL OR status = :status)
    AND (:type::text IS NULL OR type = :type)
    AND (:queue::text IS NULL OR queue = :queue)
    AND (:tag::text IS NULL OR tags @> ARRAY[:tag])
    -- Keyset: ids sort by time, and a page costs the same wherever it is.
    AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :limit::bigint
