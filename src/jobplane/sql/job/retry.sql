-- Run an ended job again. Attempts keep counting; the limit grows by what is granted.
UPDATE {schema}.jobs AS job
SET status = 'pending',
    max_attempts = job.max_attempts + :extra_attempts::integer,
    attempts_at_retry = job.attempts,
    scheduled_at = now(),
    completed_at = NULL,
    cancel_requested_at = NULL
WHERE job.id = :id::uuid
    AND job.status IN ('completed', 'failed', 'cancelled')
    AND job.attempts < job.max_attempts + :extra_attempts::integer
RETURNING job.id, job.queue
