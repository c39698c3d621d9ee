-- End claims with any verdict. Only rows that are still ours change; an id that does not come back was lost.
WITH verdict AS (
    SELECT *
    FROM unnest(
        :ids::uuid[],
        :epochs::bigint[],
        :statuses::text[],
        :delays::float8[],
        :given_back::integer[],
        :results::jsonb[],
        :last_errors::text[],
        :reasons::text[],
        :error_types::text[],
        :messages::text[],
        :frames::jsonb[]
    ) AS v (id, epoch, status, delay, given_back, result, last_error, reason, error_type, message, frames)
),
finished AS (
    UPDATE {schema}.jobs AS job
    SET status = CASE
            -- Someone asked to cancel: not another round.
            WHEN verdict.status = 'pending' AND job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            ELSE verdict.status
        END,
        attempts = GREATEST(job.attempts - verdict.given_back, 0),
        scheduled_at = CASE
            WHEN verdict.status = 'pending' AND verdict.delay IS NOT NULL
            THEN now() + make_interval(secs => verdict.delay)
            ELSE job.scheduled_at
        END,
        completed_at = CASE
            WHEN verdict.status = 'pending' AND job.cancel_requested_at IS NULL THEN NULL
            ELSE now()
        END,
        lease_expires_at = NULL,
        result = CASE
            -- Its result could not be stored: that of an earlier run must not pass for it.
            WHEN verdict.status = 'completed' AND verdict.last_error IS NOT NULL THEN NULL
            ELSE COALESCE(verdict.result, job.result)
        END,
        last_error = COALESCE(verdict.last_error, job.last_error)
    FROM verdict
    WHERE job.id = verdict.id
        AND job.lease_epoch = CASE job.status WHEN 'running' THEN verdict.epoch END
    RETURNING
        job.id, job.lease_epoch, job.attempts + verdict.given_back AS attempt, job.worker_id, job.started_at,
        verdict.reason, verdict.error_type, verdict.message, verdict.frames
),
recorded AS (
    INSERT INTO {schema}.job_attempts
        (job_id, epoch, attempt, outcome, error_type, message, frames, worker_id, started_at)
    SELECT id, lease_epoch, attempt, reason, error_type, message, COALESCE(frames, '[]'), worker_id, started_at
    FROM finished
    WHERE reason IS NOT NULL
)
SELECT id FROM finished
