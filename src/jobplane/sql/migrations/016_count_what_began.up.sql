-- What tells an attempt that began from one that was only claimed, and an explicit retry from a crash. Both columns stay
-- NULL for nearly every job. A worker older than this does not write the first: where such workers run, a job that kills
-- its worker may begin once more than its max_attempts says.
ALTER TABLE {schema}.jobs
    -- the claim whose handler began with nothing beside it in its worker
    ADD COLUMN isolated_epoch bigint,
    -- attempts that were counted before the last explicit retry
    ADD COLUMN attempts_at_retry integer;
