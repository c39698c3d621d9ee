-- The transitions from a time on, job by job, each job's in order.
SELECT
    job_id, rev, verb, from_status, to_status, epoch, attempts, max_attempts, type, queue, priority, unique_key,
    scheduled_at, lease_was, lease_is, worker_id, actor, at
FROM {schema}.job_events
WHERE at >= :since::timestamptz
ORDER BY job_id, rev
