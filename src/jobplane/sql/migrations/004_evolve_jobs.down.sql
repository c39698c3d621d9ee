-- Back to the contract's eleven columns. What the dropped columns held is gone; no job is.
DROP TRIGGER IF EXISTS take_priority_from_payload ON {schema}.jobs;
DROP FUNCTION IF EXISTS {schema}.take_priority_from_payload();
ALTER TABLE {schema}.jobs ALTER COLUMN id DROP DEFAULT;
DROP FUNCTION IF EXISTS {schema}.new_job_id();
ALTER TABLE {schema}.jobs
    DROP COLUMN IF EXISTS queue,
    DROP COLUMN IF EXISTS priority,
    DROP COLUMN IF EXISTS lease_epoch,
    DROP COLUMN IF EXISTS lease_expires_at,
    DROP COLUMN IF EXISTS worker_id,
    DROP COLUMN IF EXISTS unique_key,
    DROP COLUMN IF EXISTS tags,
    DROP COLUMN IF EXISTS result,
    DROP COLUMN IF EXISTS progress,
    DROP COLUMN IF EXISTS cancel_requested_at,
    DROP COLUMN IF EXISTS retry_policy;
