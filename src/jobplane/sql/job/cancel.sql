-- Pending: ended at once, never starts. Running: marked, its worker tells the handler. The row lock decides
-- between this and a completion; exactly one wins.
UPDATE {schema}.jobs AS job
SET status = CASE
        WHEN job.status = 'pending' THEN 'cancelled'
        -- Running without a lease: a row adopted from other software, with no worker of ours to tell.
        WHEN job.lease_expires_at IS NULL THEN 'cancelled'
        ELSE job.status
    END,
    completed_at = CASE WHEN job.status = 'pending' OR job.lease_expires_at IS NULL THEN now() END,
    cancel_requested_at = COALESCE(job.cancel_requested_at, now())
WHERE job.id = :id::uuid AND job.status IN ('pending', 'running')
RETURNING job.id, job.status
