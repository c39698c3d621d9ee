-- Make a schedule, or change the one of this name. No row comes back when it is like this already. Ticks of a new
-- expression count from now on.
INSERT INTO {schema}.schedules AS s
    (name, cron, timezone, type, payload, queue, priority, max_attempts, unique_key, tags, retry_policy, missed, missed_cap,
     last_tick, look_at, created_at)
VALUES (
    :name::text,
    :cron::text,
    :timezone::text,
    :type::text,
    :payload::text::jsonb,
    :queue::text,
    :priority::smallint,
    :max_attempts::integer,
    :unique_key::text,
    :tags::text[],
    :retry_policy::text::jsonb,
    :missed::text,
    :missed_cap::integer,
    now(),
    now(),
    now()
)
ON CONFLICT (name) DO UPDATE
SET cron = EXCLUDED.cron,
    timezone = EXCLUDED.timezone,
    type = EXCLUDED.type,
    payload = EXCLUDED.payload,
    queue = EXCLUDED.queue,
    priority = EXCLUDED.priority,
    max_attempts = EXCLUDED.max_attempts,
    unique_key = EXCLUDED.unique_key,
    tags = EXCLUDED.tags,
    retry_policy = EXCLUDED.retry_policy,
    missed = EXCLUDED.missed,
    missed_cap = EXCLUDED.missed_cap,
    revision = s.revision + 1,
    last_tick = CASE
        WHEN (s.cron, s.timezone) = (EXCLUDED.cron, EXCLUDED.timezone) THEN s.last_tick
        ELSE GREATEST(s.last_tick, now())
    END,
    look_at = now()
WHERE (
        s.cron, s.timezone, s.type, s.payload, s.queue, s.priority, s.max_attempts, s.unique_key, s.tags, s.retry_policy,
        s.missed, s.missed_cap
    ) IS DISTINCT FROM (
        EXCLUDED.cron, EXCLUDED.timezone, EXCLUDED.type, EXCLUDED.payload, EXCLUDED.queue, EXCLUDED.priority,
        EXCLUDED.max_attempts, EXCLUDED.unique_key, EXCLUDED.tags, EXCLUDED.retry_policy, EXCLUDED.missed, EXCLUDED.missed_cap
    )
RETURNING revision
