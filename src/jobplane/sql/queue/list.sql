-- Queues that hold unfinished jobs, that workers serve, or that someone paused.
WITH waiting AS (
    SELECT queue AS name, count(*) FILTER (WHERE scheduled_at <= now()) AS due, count(*) FILTER (WHERE scheduled_at > now()) AS later,
        min(scheduled_at) FILTER (WHERE scheduled_at <= now()) AS oldest_due_at
    FROM {schema}.jobs
    WHERE status = 'pending'
    GROUP BY queue
),
active AS (
    SELECT queue AS name, count(*) AS running
    FROM {schema}.jobs
    WHERE status = 'running'
    GROUP BY queue
),
served AS (
    SELECT key AS name, count(*) AS workers, sum(value::integer) AS slots
    FROM {schema}.workers
    CROSS JOIN LATERAL jsonb_each_text(queues)
    WHERE heartbeat_at > now() - make_interval(secs => :alive_within::float8)
    GROUP BY key
)
SELECT
    name,
    COALESCE(waiting.due, 0)::bigint AS due,
    COALESCE(waiting.later, 0)::bigint AS later,
    COALESCE(active.running, 0)::bigint AS running,
    COALESCE(served.workers, 0)::bigint AS workers,
    COALESCE(served.slots, 0)::bigint AS slots,
    CASE WHEN waiting.oldest_due_at IS NOT NULL THEN LEAST(GREATEST(waiting.oldest_due_at, '0001-02-01Z'), '9999-11-30Z') END AS oldest_due_at,
    q.paused_at
FROM waiting
FULL JOIN active USING (name)
FULL JOIN served USING (name)
FULL JOIN (SELECT name, paused_at FROM {schema}.queues) AS q USING (name)
ORDER BY name
