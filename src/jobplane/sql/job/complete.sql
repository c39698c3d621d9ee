-- End claims whose handlers returned nothing to keep: the hot path. Only rows that are still ours change;
-- an id that does not come back was lost.
UPDATE {schema}.jobs AS job
SET status = 'completed',
    completed_at = now(),
    lease_expires_at = NULL
FROM unnest(:ids::uuid[], :epochs::bigint[]) AS done (id, epoch)
WHERE job.id = done.id
    -- The CASE hides the status test from the planner, which would else prefer the status index to the key.
    AND job.lease_epoch = CASE job.status WHEN 'running' THEN done.epoch END
RETURNING job.id
