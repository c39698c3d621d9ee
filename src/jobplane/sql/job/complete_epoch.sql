-- As job/complete, for claims of one epoch, as nearly all batches are: a walk over the key is cheaper than a join, and
-- the number of rows cheaper than their ids. Where it is smaller than that of the claims, job/completed says which.
WITH done AS (
    UPDATE {schema}.jobs AS job
    SET status = 'completed',
        completed_at = now(),
        lease_expires_at = NULL
    WHERE job.id = ANY (:ids::uuid[])
        -- The CASE hides the status test from the planner, which would else prefer the status index to the key.
        AND job.lease_epoch = CASE job.status WHEN 'running' THEN :epoch::bigint END
    RETURNING 1
)
SELECT count(*) FROM done
