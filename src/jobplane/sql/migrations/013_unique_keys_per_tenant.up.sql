-- online: each statement runs by itself, outside of a transaction, and may be repeated after an interruption.
-- One unfinished job for each key of each tenant; jobs of no tenant share one space. The key comes first, because it is
-- what jobs are looked up by, and tells far more of them apart than a tenant does. The index keeps its name, and what older
-- code asks of it; oldest code: 008.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_new;
CREATE UNIQUE INDEX CONCURRENTLY idx_jobs_new
    ON {schema}.jobs (unique_key, tenant) NULLS NOT DISTINCT
    WHERE unique_key IS NOT NULL AND status IN ('pending', 'running');
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_unique_key;
ALTER INDEX {schema}.idx_jobs_new RENAME TO idx_jobs_unique_key;
