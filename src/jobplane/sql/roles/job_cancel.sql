-- As job/cancel, for a role that may not write a job's columns.
SELECT job_id AS id, job_status AS status FROM {schema}.cancel_job(:id::uuid)
