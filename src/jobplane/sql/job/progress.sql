-- Keep what handlers last reported, for jobs that are still ours.
UPDATE {schema}.jobs AS job
SET progress = report.progress
FROM unnest(:ids::uuid[], :epochs::bigint[], :reports::jsonb[]) AS report (id, epoch, progress)
WHERE job.id = report.id
    AND job.lease_epoch = CASE job.status WHEN 'running' THEN report.epoch END
