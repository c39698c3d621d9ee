-- Many jobs in one statement, which runs on callers' connections too: see job/insert. Tags travel as JSON: an array of
-- arrays would have to be rectangular. What a job does not have is '' in the array, not NULL: with array_nulls off, the
-- NULL that psycopg writes is the text NULL.
INSERT INTO {schema}.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy, tenant)
SELECT
    wish.id,
    wish.type,
    wish.payload::pg_catalog.jsonb,
    wish.queue,
    wish.priority,
    wish.max_attempts,
    CASE
        WHEN wish.scheduled_at OPERATOR(pg_catalog.<>) '' THEN wish.scheduled_at::pg_catalog.timestamptz
        ELSE pg_catalog.now()
    END OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => wish.delay),
    CASE WHEN wish.unique_key OPERATOR(pg_catalog.<>) '' THEN wish.unique_key END,
    CASE
        WHEN wish.tags OPERATOR(pg_catalog.<>) ''
        THEN ARRAY(SELECT pg_catalog.jsonb_array_elements_text(wish.tags::pg_catalog.jsonb))
    END,
    CASE WHEN wish.retry_policy OPERATOR(pg_catalog.<>) '' THEN wish.retry_policy::pg_catalog.jsonb END,
    CASE WHEN wish.tenant OPERATOR(pg_catalog.<>) '' THEN wish.tenant END
FROM ROWS FROM (
    pg_catalog.unnest(:ids::pg_catalog.uuid[]),
    pg_catalog.unnest(:types::pg_catalog.text[]),
    pg_catalog.unnest(:payloads::pg_catalog.text[]),
    pg_catalog.unnest(:queues::pg_catalog.text[]),
    pg_catalog.unnest(:priorities::smallint[]),
    pg_catalog.unnest(:max_attempts::integer[]),
    pg_catalog.unnest(:scheduled_ats::pg_catalog.text[]),
    pg_catalog.unnest(:delays::pg_catalog.float8[]),
    pg_catalog.unnest(:unique_keys::pg_catalog.text[]),
    pg_catalog.unnest(:tags::pg_catalog.text[]),
    pg_catalog.unnest(:retry_policies::pg_catalog.text[]),
    pg_catalog.unnest(:tenants::pg_catalog.text[])
) AS wish (
    id, type, payload, queue, priority, max_attempts, scheduled_at, delay, unique_key, tags, retry_policy, tenant
)
ON CONFLICT DO NOTHING
RETURNING id, {time_text scheduled_at} AS scheduled_at, {time_text created_at} AS created_at
