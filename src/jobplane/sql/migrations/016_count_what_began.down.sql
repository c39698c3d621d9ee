ALTER TABLE {schema}.jobs
    DROP COLUMN IF EXISTS isolated_epoch,
    DROP COLUMN IF EXISTS attempts_at_retry;
