-- Take back jobs whose lease has expired: their worker died, hangs, or is cut off. The update itself checks
-- again that the lease is expired, so a heartbeat in between wins.
WITH expired AS MATERIALIZED (
    SELECT job.id
    FROM {schema}.jobs AS job
    WHERE job.status = 'running' AND job.lease_expires_at < now()
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
-- When a worker last lost a job. Looked at only where a job would fail.
losses AS MATERIALIZED (
    SELECT crash.worker_id, max(crash.ended_at) AS last_at
    FROM {schema}.job_attempts AS crash
    WHERE crash.outcome = 'crashed'
    GROUP BY crash.worker_id
),
verdict AS MATERIALIZED (
    SELECT
        job.id,
        job.attempts,
        CASE
            WHEN job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            -- At most once: it may not run again, whoever was to blame.
            WHEN job.max_attempts = 1 THEN 'failed'
            WHEN job.attempts < job.max_attempts AND :crash_limit::bigint > 1 + (
                SELECT count(*)
                FROM {schema}.job_attempts AS crash
                WHERE crash.job_id = job.id AND crash.outcome = 'crashed' AND crash.ended_at > now() - interval '1 day'
            ) THEN 'pending'
            -- A crash is the end of a job only where it ran alone: in company, nobody can say which of them it was.
            WHEN EXISTS (
                SELECT
                FROM {schema}.jobs AS other
                WHERE other.status = 'running' AND other.worker_id = job.worker_id AND other.id <> job.id
            ) THEN 'pending'
            -- Its company's leases may have ended before its own.
            WHEN EXISTS (
                SELECT FROM losses WHERE losses.worker_id = job.worker_id AND losses.last_at >= job.started_at
            ) THEN 'pending'
            ELSE 'failed'
        END AS status
    FROM expired
    JOIN {schema}.jobs AS job ON job.id = expired.id
),
rescued AS (
    UPDATE {schema}.jobs AS job
    SET status = verdict.status,
        -- What dies in company keeps a last attempt, to be made alone.
        attempts = CASE verdict.status WHEN 'pending' THEN LEAST(job.attempts, job.max_attempts - 1) ELSE job.attempts END,
        completed_at = CASE WHEN verdict.status <> 'pending' THEN now() END,
        last_error = 'lease lost: worker ' || COALESCE(job.worker_id, '?') || ' stopped renewing it',
        lease_expires_at = NULL
    FROM verdict
    WHERE job.id = verdict.id
        AND job.lease_expires_at < CASE job.status WHEN 'running' THEN now() END
    RETURNING
        job.id, job.status, job.queue, job.lease_epoch, verdict.attempts AS attempt, job.worker_id, job.started_at,
        job.last_error
),
recorded AS (
    INSERT INTO {schema}.job_attempts
        (job_id, epoch, attempt, outcome, error_type, message, worker_id, started_at, ended_at)
    SELECT id, lease_epoch, attempt, 'crashed', 'LeaseLost', last_error, worker_id, started_at, now()
    FROM rescued
)
SELECT id, status, queue FROM rescued
