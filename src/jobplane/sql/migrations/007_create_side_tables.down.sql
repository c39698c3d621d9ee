DROP TABLE IF EXISTS {schema}.duties;
DROP TABLE IF EXISTS {schema}.workers;
DROP TABLE IF EXISTS {schema}.queues;
DROP TABLE IF EXISTS {schema}.job_attempts;
