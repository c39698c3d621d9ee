-- Which of these claims someone wants cancelled: by id and epoch, so that a late question says nothing of a later claim.
SELECT job.id, job.lease_epoch AS epoch
FROM unnest(:ids::uuid[], :epochs::bigint[]) AS held (id, epoch)
JOIN {schema}.jobs AS job
    ON job.id = held.id AND job.lease_epoch = CASE job.status WHEN 'running' THEN held.epoch END
WHERE job.cancel_requested_at IS NOT NULL
