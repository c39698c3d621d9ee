-- Take due jobs of a queue with a limit, in order, as many as its limit leaves room for, and start their attempt.
-- Runs under queue/lock, in the same transaction, as a statement of its own: in the locking statement the count would
-- be of a snapshot from before the last holder's commit. Its time is the statement's too: the transaction began before
-- the wait for the lock, and jobs that ran one after the other would seem to overlap.
WITH next AS MATERIALIZED (
    SELECT due.id
    FROM {schema}.jobs AS due
    WHERE due.status = 'pending'
        AND due.queue = :queue::text
        AND due.scheduled_at <= now()
        -- Where one job runs after the other the first is next, also when this worker does not know it.
        AND (:max_running::bigint = 1 OR due.type = ANY (:types::text[]))
    ORDER BY due.priority DESC, due.scheduled_at, due.id
    LIMIT (
        SELECT GREATEST(LEAST(:limit::bigint, :max_running::bigint - count(*)), 0)
        FROM {schema}.jobs AS busy
        WHERE busy.status = 'running' AND busy.queue = :queue::text
    )
)
UPDATE {schema}.jobs AS job
SET status = 'running',
    attempts = job.attempts + 1,
    -- As in job/claim.
    lease_epoch = CASE job.lease_epoch
        WHEN 0 THEN COALESCE((SELECT e.spent FROM {schema}.epochs AS e WHERE e.only_row), 0)
        ELSE job.lease_epoch
    END + 1,
    lease_expires_at = statement_timestamp() + make_interval(secs => :lease::float8),
    started_at = statement_timestamp(),
    worker_id = :worker_id::text
WHERE job.id = ANY (ARRAY(
    SELECT due.id
    FROM {schema}.jobs AS due
    WHERE due.id = ANY (ARRAY(SELECT id FROM next))
        AND CASE due.status WHEN 'pending' THEN due.type END = ANY (:types::text[])
    -- A row that someone keeps locked holds its place: passing it over here would break the order of the others.
    FOR NO KEY UPDATE OF due SKIP LOCKED
))
RETURNING
    job.id, job.type, job.payload, job.attempts, job.max_attempts, job.lease_epoch, job.queue, job.priority,
    -- Times as in job/claim.
    LEAST(GREATEST(job.scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    LEAST(GREATEST(job.created_at, '0001-02-01Z'), '9999-11-30Z') AS created_at,
    job.started_at, job.unique_key, job.tags, job.progress, job.retry_policy,
    -- As in job/claim.
    CASE
        WHEN job.attempts > 1 THEN (
            SELECT count(*)
            FROM {schema}.job_attempts AS crash
            WHERE crash.job_id = job.id AND crash.outcome = 'crashed' AND crash.ended_at > now() - interval '1 day'
        )
        ELSE 0
    END AS crashes,
    job.tenant, job.attempts_at_retry
