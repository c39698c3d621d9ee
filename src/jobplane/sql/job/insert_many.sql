-- Many jobs in one statement. Tags travel as JSON text: an array of arrays would have to be rectangular.
INSERT INTO {schema}.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy)
SELECT
    wish.id,
    wish.type,
    wish.payload,
    wish.queue,
    wish.priority,
    wish.max_attempts,
    COALESCE(wish.scheduled_at, now()) + make_interval(secs => wish.delay),
    wish.unique_key,
    CASE WHEN wish.tags IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(wish.tags)) END,
    wish.retry_policy
FROM unnest(
    :ids::uuid[],
    :types::text[],
    :payloads::jsonb[],
    :queues::text[],
    :priorities::smallint[],
    :max_attempts::integer[],
    :scheduled_ats::timestamptz[],
    :delays::float8[],
    :unique_keys::text[],
    :tags::jsonb[],
    :retry_policies::jsonb[]
) AS wish (id, type, payload, queue, priority, max_attempts, scheduled_at, delay, unique_key, tags, retry_policy)
ON CONFLICT DO NOTHING
RETURNING id, type, status, scheduled_at, created_at
