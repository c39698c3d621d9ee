-- One page of jobs, newest first. A filter that is NULL lets everything pass.
-- Only status has an index (but for completed and pending). For the other filters at most :scan jobs are looked at;
-- searched_to then says how far that went.
WITH seen AS MATERIALIZED (
    SELECT id, type, queue, status, tags
    FROM {schema}.jobs
    WHERE (:status::text IS NULL OR :status NOT IN ('running', 'failed', 'cancelled') OR status = :status)
        -- Keyset: ids sort by time, and a page costs the same wherever it is.
        AND (:before::uuid IS NULL OR id < :before)
    ORDER BY id DESC
    LIMIT CASE
        -- Nothing is left to filter: a planner that expected to read :scan jobs would rather sort all that failed.
        WHEN :type::text IS NULL AND :queue::text IS NULL AND :tag::text IS NULL
            AND (:status IS NULL OR :status IN ('running', 'failed', 'cancelled'))
        THEN :limit::bigint
        ELSE :scan::bigint
    END
),
-- Read in the order of seen, and no further than the page needs.
found AS MATERIALIZED (
    SELECT id
    FROM seen
    WHERE (:status::text IS NULL OR status = :status)
        AND (:type::text IS NULL OR type = :type)
        AND (:queue::text IS NULL OR queue = :queue)
        -- The catalogue's own operator: someone's @> (text[], text[]) in public would fit better than its anyarray.
        AND (:tag::text IS NULL OR tags OPERATOR(pg_catalog.@>) ARRAY[:tag])
    LIMIT :limit::bigint
)
SELECT
    job.id, job.type, job.payload::text AS payload, job.status, job.attempts, job.max_attempts, job.last_error,
    -- -infinity and years that Python does not know, which only a foreign producer writes, read as the nearest that it does.
    LEAST(GREATEST(job.scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    CASE WHEN job.started_at IS NOT NULL THEN LEAST(GREATEST(job.started_at, '0001-02-01Z'), '9999-11-30Z') END AS started_at,
    CASE WHEN job.completed_at IS NOT NULL THEN LEAST(GREATEST(job.completed_at, '0001-02-01Z'), '9999-11-30Z') END AS completed_at,
    CASE WHEN job.created_at IS NOT NULL THEN LEAST(GREATEST(job.created_at, '0001-02-01Z'), '9999-11-30Z') END AS created_at,
    job.queue, job.priority, job.lease_epoch,
    CASE WHEN job.lease_expires_at IS NOT NULL THEN LEAST(GREATEST(job.lease_expires_at, '0001-02-01Z'), '9999-11-30Z') END AS lease_expires_at,
    job.worker_id, job.unique_key, job.tags, job.result::text AS result, job.progress::text AS progress,
    CASE WHEN job.cancel_requested_at IS NOT NULL THEN LEAST(GREATEST(job.cancel_requested_at, '0001-02-01Z'), '9999-11-30Z') END AS cancel_requested_at,
    job.tenant, searched.searched_to
FROM (
    SELECT CASE
        WHEN (SELECT count(*) FROM found) < :limit::bigint THEN (SELECT id FROM seen OFFSET :scan::bigint - 1 LIMIT 1)
    END AS searched_to
) AS searched
LEFT JOIN LATERAL (
    SELECT * FROM {schema}.jobs WHERE id = ANY (ARRAY(SELECT id FROM found))
) AS job ON true
ORDER BY job.id DESC
