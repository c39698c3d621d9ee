-- Extend the leases of the jobs that this worker holds, and say of each whether it is still ours.
WITH held AS (
    SELECT * FROM unnest(:ids::uuid[], :epochs::bigint[]) AS h (id, epoch)
),
renewable AS MATERIALIZED (
    SELECT job.id
    FROM held
    JOIN {schema}.jobs AS job
        ON job.id = held.id AND job.lease_epoch = CASE job.status WHEN 'running' THEN held.epoch END
    -- A row that is locked is just being finished or cancelled: waiting for it would invite a deadlock.
    FOR NO KEY UPDATE OF job SKIP LOCKED
),
renewed AS (
    UPDATE {schema}.jobs AS job
    SET lease_expires_at = now() + make_interval(secs => :lease::float8)
    WHERE job.id = ANY (ARRAY(SELECT id FROM renewable))
    RETURNING job.id
)
SELECT
    held.id,
    held.epoch,
    -- By its epoch too: of two claims of one job in a batch, only the current one was renewed.
    renewed.id IS NOT NULL AND job.id IS NOT NULL AS renewed,
    job.id IS NOT NULL AS ours,
    job.cancel_requested_at IS NOT NULL AS cancel_requested
FROM held
LEFT JOIN renewed ON renewed.id = held.id
LEFT JOIN {schema}.jobs AS job
    ON job.id = held.id AND job.lease_epoch = CASE job.status WHEN 'running' THEN held.epoch END
