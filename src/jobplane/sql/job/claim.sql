-- Take up to :limit due jobs of one queue, in order, and start their attempt.
UPDATE {schema}.jobs AS job
SET status = 'running',
    attempts = job.attempts + 1,
    -- The first claim counts on from every job that was deleted: its id may have been one of theirs, and whoever held
    -- that one may still report. All first claims of a batch have one epoch.
    lease_epoch = CASE job.lease_epoch
        WHEN 0 THEN COALESCE((SELECT e.spent FROM {schema}.epochs AS e WHERE e.only_row), 0)
        ELSE job.lease_epoch
    END + 1,
    lease_expires_at = now() + make_interval(secs => :lease::float8),
    started_at = now(),
    worker_id = :worker_id::text
-- An array, not IN (SELECT ..) or a join: those may run the subselect again and update more than the limit.
WHERE job.id = ANY (ARRAY(
    SELECT due.id
    FROM {schema}.jobs AS due
    WHERE due.status = 'pending'
        AND due.queue = :queue::text
        AND due.scheduled_at <= now()
        -- Jobs that this worker does not know wait for one that does.
        AND due.type = ANY (:types::text[])
        AND NOT EXISTS (
            -- A queue with a limit is for job/claim_limited.
            SELECT FROM {schema}.queues AS q
            WHERE q.name = :queue::text AND (q.paused_at IS NOT NULL OR q.max_running IS NOT NULL)
        )
    ORDER BY due.priority DESC, due.scheduled_at, due.id
    LIMIT :limit::bigint
    -- NO KEY: a row that refers to the job does not hide it from the claim.
    FOR NO KEY UPDATE OF due SKIP LOCKED
))
RETURNING
    job.id, job.type, job.payload, job.attempts, job.max_attempts, job.lease_epoch, job.queue, job.priority,
    -- -infinity and years that Python does not know, which only a foreign producer writes, read as the nearest that it does.
    -- One such row would make the answer unreadable, and cost every job of the batch an attempt.
    LEAST(GREATEST(job.scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    LEAST(GREATEST(job.created_at, '0001-02-01Z'), '9999-11-30Z') AS created_at,
    job.started_at, job.unique_key, job.tags, job.progress, job.retry_policy,
    -- How often its worker died lately, with this job in hand. Not looked up at its first attempt: none died at it, since
    -- what a rescue gives back is never the first.
    CASE
        WHEN job.attempts > 1 THEN (
            SELECT count(*)
            FROM {schema}.job_attempts AS crash
            WHERE crash.job_id = job.id AND crash.outcome = 'crashed' AND crash.ended_at > now() - interval '1 day'
        )
        ELSE 0
    END AS crashes,
    job.tenant, job.attempts_at_retry
