-- online: each statement runs by itself, outside of a transaction, and may be repeated after an interruption.
-- The contract's three indexes keep their names and get the shapes that claims are fast with.

-- Polling, in claim order, over waiting jobs only: finished rows cost it nothing.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_new;
CREATE INDEX CONCURRENTLY idx_jobs_new
    ON {schema}.jobs (queue, priority DESC, scheduled_at, id) WHERE status = 'pending';
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_status_scheduled_at;
ALTER INDEX {schema}.idx_jobs_new RENAME TO idx_jobs_status_scheduled_at;

-- The statuses that people and the sweeper look for. Waiting jobs are in the polling index, and nearly every
-- row is completed, so an index on that value would serve nobody and cost every job.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_new;
CREATE INDEX CONCURRENTLY idx_jobs_new
    ON {schema}.jobs (status, id) WHERE status IN ('running', 'failed', 'cancelled');
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_status;
ALTER INDEX {schema}.idx_jobs_new RENAME TO idx_jobs_status;

-- A BRIN on purpose: the planner would take a btree on scheduled_at for the claim right after a bulk load,
-- and walk every finished row.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_new;
CREATE INDEX CONCURRENTLY idx_jobs_new
    ON {schema}.jobs USING brin (scheduled_at) WITH (pages_per_range = 16, autosummarize = on);
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_scheduled_at;
ALTER INDEX {schema}.idx_jobs_new RENAME TO idx_jobs_scheduled_at;

-- One unfinished job for each key. Jobs without a key are not in it.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_unique_key;
CREATE UNIQUE INDEX CONCURRENTLY idx_jobs_unique_key
    ON {schema}.jobs (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running');
