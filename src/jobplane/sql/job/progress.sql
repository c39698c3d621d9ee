-- Keep what handlers last reported, for jobs that are still ours. A row that is locked is just being finished or
-- renewed: waiting for it would invite a deadlock. Such jobs come back, to be tried again.
WITH report AS (
    SELECT * FROM unnest(:ids::uuid[], :epochs::bigint[], :reports::jsonb[]) AS r (id, epoch, progress)
),
writable AS MATERIALIZED (
    SELECT job.id, report.progress
    FROM report
    JOIN {schema}.jobs AS job
        ON job.id = report.id AND job.lease_epoch = CASE job.status WHEN 'running' THEN report.epoch END
    FOR NO KEY UPDATE OF job SKIP LOCKED
),
written AS (
    UPDATE {schema}.jobs AS job
    SET progress = writable.progress
    FROM writable
    WHERE job.id = writable.id
    RETURNING job.id
)
SELECT job.id
FROM report
JOIN {schema}.jobs AS job
    ON job.id = report.id AND job.lease_epoch = CASE job.status WHEN 'running' THEN report.epoch END
WHERE NOT EXISTS (SELECT FROM written WHERE written.id = job.id)
