-- online: back to the contract's three plain indexes.
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_unique_key;
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_status;
CREATE INDEX CONCURRENTLY idx_jobs_status ON {schema}.jobs (status);
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_scheduled_at;
CREATE INDEX CONCURRENTLY idx_jobs_scheduled_at ON {schema}.jobs (scheduled_at);
DROP INDEX CONCURRENTLY IF EXISTS {schema}.idx_jobs_status_scheduled_at;
CREATE INDEX CONCURRENTLY idx_jobs_status_scheduled_at ON {schema}.jobs (status, scheduled_at);
