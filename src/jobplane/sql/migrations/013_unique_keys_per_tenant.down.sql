-- online: one unfinished job for each key, whosever it is. Fails where two tenants hold the same key at the moment.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_new;
CREATE UNIQUE INDEX CONCURRENTLY idx_jobs_new
    ON {schema}.jobs (unique_key) WHERE unique_key IS NOT NULL AND status IN ('pending', 'running');
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_unique_key;
ALTER INDEX {schema}.idx_jobs_new RENAME TO idx_jobs_unique_key;
