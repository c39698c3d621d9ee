-- Keep no more history; what is there stays.
DROP TRIGGER IF EXISTS record_job_change ON {schema}.jobs
