-- The transitions from a time on, job by job, each job's in order.
SELECT
    job_id, rev, verb, from_status, to_status, epoch, attempts, max_attempts, type, queue, priority, unique_key,
    {time scheduled_at} AS scheduled_at, {time lease_was} AS lease_was, {time lease_is} AS lease_is, worker_id, actor,
    {time at} AS at
FROM {schema}.job_events
WHERE at >= :since::timestamptz
ORDER BY job_id, rev
