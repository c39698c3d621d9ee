-- Deletes every job.
DROP TABLE IF EXISTS {schema}.jobs;
