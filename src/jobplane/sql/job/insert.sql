-- One job. The id is the client's, so that a repeated insert after a lost answer makes no second job.
INSERT INTO {schema}.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy)
VALUES (
    :id::uuid,
    :type::text,
    :payload::jsonb,
    :queue::text,
    :priority::smallint,
    :max_attempts::integer,
    COALESCE(:scheduled_at::timestamptz, now()) + make_interval(secs => :delay::float8),
    :unique_key::text,
    :tags::text[],
    :retry_policy::jsonb
)
ON CONFLICT DO NOTHING
RETURNING id, type, status, scheduled_at, created_at
