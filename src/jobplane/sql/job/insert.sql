-- One job. The id is the client's, so that a repeated insert after a lost answer makes no second job.
-- JSON travels as text: on a caller's connection, jsonb parameters may go through a codec of the caller's.
INSERT INTO {schema}.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy, tenant)
VALUES (
    :id::uuid,
    :type::text,
    :payload::text::jsonb,
    :queue::text,
    :priority::smallint,
    :max_attempts::integer,
    COALESCE(:scheduled_at::timestamptz, now()) + make_interval(secs => :delay::float8),
    :unique_key::text,
    :tags::text[],
    :retry_policy::text::jsonb,
    :tenant::text
)
ON CONFLICT DO NOTHING
RETURNING id, scheduled_at, created_at
