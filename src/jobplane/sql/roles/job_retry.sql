-- As job/retry, for a role that may not write a job's columns.
SELECT job_id AS id, job_queue AS queue FROM {schema}.retry_job(:id::uuid, :extra_attempts::integer)
