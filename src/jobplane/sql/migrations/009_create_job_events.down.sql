DROP TRIGGER IF EXISTS record_job_change ON {schema}.jobs;
DROP FUNCTION {schema}.record_job_event();
DROP TABLE {schema}.job_events;
