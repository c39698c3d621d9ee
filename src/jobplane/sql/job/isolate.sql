-- Note that a suspect begins now, with nothing beside it, if it is still ours: from here on a crash is its own fault and
-- costs it the attempt.
UPDATE {schema}.jobs AS job
SET isolated_epoch = job.lease_epoch
WHERE job.id = :id::uuid
    AND job.lease_epoch = CASE job.status WHEN 'running' THEN :epoch::bigint END
RETURNING job.id
