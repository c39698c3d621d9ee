-- As job/complete, for claims of one epoch: nearly all batches are, and a walk over the key is cheaper than a join.
UPDATE {schema}.jobs AS job
SET status = 'completed',
    completed_at = now(),
    lease_expires_at = NULL
WHERE job.id = ANY (:ids::uuid[])
    -- The CASE hides the status test from the planner, which would else prefer the status index to the key.
    AND job.lease_epoch = CASE job.status WHEN 'running' THEN :epoch::bigint END
RETURNING job.id
