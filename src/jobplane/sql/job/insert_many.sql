-- Many jobs in one statement. JSON travels as text, as in job/insert; tags too: an array of arrays would have to
-- be rectangular.
INSERT INTO {schema}.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy, tenant)
SELECT
    wish.id,
    wish.type,
    wish.payload::jsonb,
    wish.queue,
    wish.priority,
    wish.max_attempts,
    COALESCE(wish.scheduled_at, now()) + make_interval(secs => wish.delay),
    wish.unique_key,
    CASE WHEN wish.tags IS NOT NULL THEN ARRAY(SELECT jsonb_array_elements_text(wish.tags::jsonb)) END,
    wish.retry_policy::jsonb,
    wish.tenant
FROM unnest(
    :ids::uuid[],
    :types::text[],
    :payloads::text[],
    :queues::text[],
    :priorities::smallint[],
    :max_attempts::integer[],
    :scheduled_ats::timestamptz[],
    :delays::float8[],
    :unique_keys::text[],
    :tags::text[],
    :retry_policies::text[],
    :tenants::text[]
) AS wish (
    id, type, payload, queue, priority, max_attempts, scheduled_at, delay, unique_key, tags, retry_policy, tenant
)
ON CONFLICT DO NOTHING
RETURNING id, scheduled_at, created_at
