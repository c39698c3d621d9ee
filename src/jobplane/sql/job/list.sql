-- One page of jobs, newest first. A filter that is NULL lets everything pass.
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
    CASE WHEN cancel_requested_at IS NOT NULL THEN LEAST(GREATEST(cancel_requested_at, '0001-02-01Z'), '9999-11-30Z') END AS cancel_requested_at
FROM {schema}.jobs
WHERE (:status::text IS NULL OR status = :status)
    AND (:type::text IS NULL OR type = :type)
    AND (:queue::text IS NULL OR queue = :queue)
    -- The catalogue's own operator: someone's @> (text[], text[]) in public would fit better than its anyarray.
    AND (:tag::text IS NULL OR tags OPERATOR(pg_catalog.@>) ARRAY[:tag])
    -- Keyset: ids sort by time, and a page costs the same wherever it is.
    AND (:before::uuid IS NULL OR id < :before)
ORDER BY id DESC
LIMIT :limit::bigint
