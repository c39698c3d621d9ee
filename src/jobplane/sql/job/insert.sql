-- One job. The id is the client's, so that a repeated insert after a lost answer makes no second job.
-- Runs on callers' connections too, so it depends on nothing that a session can change: names and operators are
-- PostgreSQL's own whatever the search path, JSON goes in and times come out as text.
INSERT INTO {schema}.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy, tenant)
VALUES (
    :id::pg_catalog.uuid,
    :type::pg_catalog.text,
    :payload::pg_catalog.text::pg_catalog.jsonb,
    :queue::pg_catalog.text,
    :priority::smallint,
    :max_attempts::integer,
    COALESCE(:scheduled_at::pg_catalog.timestamptz, pg_catalog.now())
        OPERATOR(pg_catalog.+) pg_catalog.make_interval(secs => :delay::pg_catalog.float8),
    :unique_key::pg_catalog.text,
    :tags::pg_catalog.text[],
    :retry_policy::pg_catalog.text::pg_catalog.jsonb,
    :tenant::pg_catalog.text
)
ON CONFLICT DO NOTHING
RETURNING id, {time_text scheduled_at} AS scheduled_at, {time_text created_at} AS created_at
