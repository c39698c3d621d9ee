-- Take back jobs whose lease has expired: their worker died, hangs, or is cut off. The update itself checks
-- again that the lease is expired, so a heartbeat in between wins.
WITH expired AS MATERIALIZED (
    SELECT job.id
    FROM {schema}.jobs AS job
    WHERE job.status = 'running' AND job.lease_expires_at < now()
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
rescued AS (
    UPDATE {schema}.jobs AS job
    SET status = CASE
            WHEN job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            WHEN job.attempts >= job.max_attempts THEN 'failed'
            ELSE 'pending'
        END,
        completed_at = CASE
            WHEN job.cancel_requested_at IS NOT NULL OR job.attempts >= job.max_attempts THEN now()
        END,
        last_error = 'lease lost: worker ' || COALESCE(job.worker_id, '?') || ' stopped renewing it',
        lease_expires_at = NULL
    WHERE job.id = ANY (ARRAY(SELECT id FROM expired))
        AND job.status = 'running'
        AND job.lease_expires_at < now()
    RETURNING
        job.id, job.status, job.queue, job.lease_epoch, job.attempts, job.worker_id, job.started_at, job.last_error
),
recorded AS (
    INSERT INTO {schema}.job_attempts
        (job_id, epoch, attempt, outcome, error_type, message, worker_id, started_at)
    SELECT id, lease_epoch, attempts, 'crashed', 'LeaseLost', last_error, worker_id, started_at
    FROM rescued
)
SELECT id, status, queue FROM rescued
