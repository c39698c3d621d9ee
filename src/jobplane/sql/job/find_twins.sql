-- The jobs that stood in the way of an insert: the same id, or an unfinished job with the same unique key.
-- -infinity and years that Python does not know, which only a foreign producer writes, read as the nearest that it does.
SELECT
    id, type, status, unique_key,
    LEAST(GREATEST(scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    LEAST(GREATEST(created_at, '0001-02-01Z'), '9999-11-30Z') AS created_at
FROM {schema}.jobs
WHERE id = ANY(:ids::uuid[])
UNION
SELECT
    id, type, status, unique_key,
    LEAST(GREATEST(scheduled_at, '0001-02-01Z'), '9999-11-30Z') AS scheduled_at,
    LEAST(GREATEST(created_at, '0001-02-01Z'), '9999-11-30Z') AS created_at
FROM {schema}.jobs
WHERE unique_key = ANY(:unique_keys::text[]) AND status IN ('pending', 'running')
