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
    {time job.scheduled_at} AS scheduled_at,
    {time job.started_at} AS started_at,
    {time job.completed_at} AS completed_at,
    {time job.created_at} AS created_at,
    job.queue, job.priority, job.lease_epoch,
    {time job.lease_expires_at} AS lease_expires_at,
    job.worker_id, job.unique_key, job.tags, job.result::text AS result, job.progress::text AS progress,
    {time job.cancel_requested_at} AS cancel_requested_at,
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
