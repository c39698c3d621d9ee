-- As job/claim, but only beyond what was claimed last, in each of the priorities named: under a snapshot that someone
-- keeps open, the polling index is full of entries of jobs that were claimed long ago, and these are not walked again.
UPDATE {schema}.jobs AS job
SET status = 'running',
    attempts = job.attempts + 1,
    -- As in job/claim.
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
    FROM unnest(:priorities::smallint[], :ats::timestamptz[], :ids::uuid[]) AS mark (priority, at, id)
    -- One walk of the index for each priority, highest first as they are given; the outer limit ends the last.
    CROSS JOIN LATERAL (
        SELECT beyond.id
        FROM {schema}.jobs AS beyond
        WHERE beyond.status = 'pending'
            AND beyond.queue = :queue::text
            AND beyond.priority = mark.priority
            AND (beyond.scheduled_at, beyond.id) > (mark.at, mark.id)
            AND beyond.scheduled_at <= now()
            -- Jobs that this worker does not know wait for one that does.
            AND beyond.type = ANY (:types::text[])
            AND NOT EXISTS (
                -- A queue with a limit is for job/claim_limited.
                SELECT FROM {schema}.queues AS q
                WHERE q.name = :queue::text AND (q.paused_at IS NOT NULL OR q.max_running IS NOT NULL)
            )
        ORDER BY beyond.scheduled_at, beyond.id
        LIMIT :limit::bigint
        -- NO KEY: a row that refers to the job does not hide it from the claim.
        FOR NO KEY UPDATE OF beyond SKIP LOCKED
    ) AS due
    LIMIT :limit::bigint
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
