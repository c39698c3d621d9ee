-- The failed attempts of one job, oldest first.
SELECT job_id, epoch, attempt, outcome, error_type, message, frames::text AS frames, worker_id,
    {time started_at} AS started_at, {time ended_at} AS ended_at
FROM {schema}.job_attempts
WHERE job_id = :id::uuid
ORDER BY epoch
