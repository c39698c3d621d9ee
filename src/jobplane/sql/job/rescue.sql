-- Take back jobs whose lease has expired: their worker died, hangs, or is cut off. The update itself checks
-- again that the lease is expired, so a heartbeat in between wins.
WITH expired AS MATERIALIZED (
    SELECT job.id
    FROM {schema}.jobs AS job
    WHERE job.status = 'running' AND job.lease_expires_at < now()
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
suspicion AS MATERIALIZED (
    SELECT
        job.id,
        job.attempts,
        job.max_attempts,
        job.cancel_requested_at,
        job.attempts >= job.max_attempts AS was_last,
        -- Its worker wrote that before the handler began (job/isolate). A job that the next crash may fail begins in no
        -- other way.
        job.isolated_epoch IS NOT DISTINCT FROM job.lease_epoch AS was_alone,
        (
            SELECT count(*)
            FROM {schema}.job_attempts AS crash
            WHERE crash.job_id = job.id AND crash.outcome = 'crashed' AND crash.ended_at > now() - interval '1 day'
        ) AS earlier_crashes
    FROM expired
    JOIN {schema}.jobs AS job ON job.id = expired.id
),
verdict AS MATERIALIZED (
    SELECT
        id,
        attempts,
        CASE
            WHEN cancel_requested_at IS NOT NULL THEN 'cancelled'
            -- Without an earlier crash it was no suspect, and may have begun beside others: no handler is called more
            -- often than max_attempts says, whoever was to blame.
            WHEN was_last AND (was_alone OR earlier_crashes = 0) THEN 'failed'
            WHEN was_alone AND earlier_crashes + 1 >= :crash_limit::bigint THEN 'failed'
            ELSE 'pending'
        END AS status,
        -- A suspect that was still waiting to be alone never began.
        CASE WHEN was_last AND NOT was_alone AND earlier_crashes > 0 THEN 1 ELSE 0 END AS given_back,
        CASE
            WHEN was_last AND (was_alone OR earlier_crashes = 0)
            THEN ' during attempt ' || attempts::text || ' of ' || max_attempts::text || ', the last one'
            WHEN was_alone AND earlier_crashes + 1 >= :crash_limit::bigint
            THEN ' while this job ran alone (crash ' || (earlier_crashes + 1)::text || ' of it within a day)'
            ELSE ''
        END AS why
    FROM suspicion
),
rescued AS (
    UPDATE {schema}.jobs AS job
    SET status = verdict.status,
        attempts = job.attempts - CASE verdict.status WHEN 'pending' THEN verdict.given_back ELSE 0 END,
        completed_at = CASE WHEN verdict.status <> 'pending' THEN now() END,
        last_error = 'lease lost: worker ' || COALESCE(job.worker_id, '?') || ' stopped renewing it' || verdict.why,
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
