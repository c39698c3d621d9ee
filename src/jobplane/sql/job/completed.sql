-- Which of these claims have been completed already: by their holder, since nobody else completes under their epoch.
SELECT job.id
FROM unnest(:ids::uuid[], :epochs::bigint[]) AS done (id, epoch)
JOIN {schema}.jobs AS job ON job.id = done.id AND job.lease_epoch = done.epoch
WHERE job.status = 'completed'
