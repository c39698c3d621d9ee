-- Which of these rows someone else keeps locked. The locks that this takes end with it.
WITH free AS MATERIALIZED (
    SELECT id FROM {schema}.jobs WHERE id = ANY (:ids::uuid[]) FOR NO KEY UPDATE SKIP LOCKED
)
SELECT job.id
FROM {schema}.jobs AS job
WHERE job.id = ANY (:ids::uuid[]) AND NOT EXISTS (SELECT FROM free WHERE free.id = job.id)
