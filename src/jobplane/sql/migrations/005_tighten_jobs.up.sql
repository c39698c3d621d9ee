-- online: each statement runs by itself, outside of a transaction, and may be repeated after an interruption.
-- The contract leaves four columns nullable; a NULL there would never be claimed. NULL becomes the default, then
-- the columns forbid it. The check that is validated first spares SET NOT NULL its scan under an exclusive lock.
UPDATE {schema}.jobs
SET payload = COALESCE(payload, '{}'),
    status = COALESCE(status, 'pending'),
    attempts = COALESCE(attempts, 0),
    max_attempts = COALESCE(max_attempts, 3)
WHERE payload IS NULL OR status IS NULL OR attempts IS NULL OR max_attempts IS NULL;

ALTER TABLE {schema}.jobs
    ALTER COLUMN payload SET DEFAULT '{}',
    ALTER COLUMN status SET DEFAULT 'pending',
    ALTER COLUMN attempts SET DEFAULT 0,
    ALTER COLUMN max_attempts SET DEFAULT 3;

ALTER TABLE {schema}.jobs DROP CONSTRAINT IF EXISTS jobs_no_nulls;
ALTER TABLE {schema}.jobs ADD CONSTRAINT jobs_no_nulls CHECK (
    payload IS NOT NULL AND status IS NOT NULL AND attempts IS NOT NULL AND max_attempts IS NOT NULL
) NOT VALID;
ALTER TABLE {schema}.jobs VALIDATE CONSTRAINT jobs_no_nulls;

ALTER TABLE {schema}.jobs
    ALTER COLUMN payload SET NOT NULL,
    ALTER COLUMN status SET NOT NULL,
    ALTER COLUMN attempts SET NOT NULL,
    ALTER COLUMN max_attempts SET NOT NULL;

ALTER TABLE {schema}.jobs DROP CONSTRAINT jobs_no_nulls;
