-- Queues that hold unfinished jobs, that workers serve, or that someone paused or limited. Asked for often, so it must not count
-- a million waiting jobs: numbers are exact while no more than :exact wait, shared evenly among the queues that have
-- any; the others are estimated from some of the table's pages.
WITH RECURSIVE names AS (
    -- From one queue to the next by the polling index, whatever is in them.
    (SELECT queue AS name FROM {schema}.jobs WHERE status = 'pending' ORDER BY queue LIMIT 1)
    UNION ALL
    SELECT (
        SELECT job.queue FROM {schema}.jobs AS job WHERE job.status = 'pending' AND job.queue > names.name ORDER BY job.queue LIMIT 1
    )
    FROM names
    WHERE names.name IS NOT NULL
),
share AS MATERIALIZED (
    SELECT
        greatest(:exact::bigint / greatest(count(name), 1), 100) AS exact,
        least(
            100.0,
            100.0 * :sample::bigint * current_setting('block_size')::bigint / greatest(pg_relation_size('{schema}.jobs'), 1)
        ) AS percent
    FROM names
),
-- Read only where a queue holds more than its share.
sampled AS MATERIALIZED (
    SELECT queue AS name, count(*) FILTER (WHERE scheduled_at <= now()) AS due, count(*) FILTER (WHERE scheduled_at > now()) AS later
    FROM {schema}.jobs TABLESAMPLE SYSTEM ((SELECT percent FROM share))
    WHERE status = 'pending'
    GROUP BY queue
),
waiting AS (
    SELECT
        names.name,
        head.jobs > share.exact AS estimated,
        CASE
            WHEN head.jobs <= share.exact THEN head.due
            ELSE greatest(head.due, (SELECT round(s.due * 100 / share.percent) FROM sampled AS s WHERE s.name = names.name))
        END::bigint AS due,
        CASE
            WHEN head.jobs <= share.exact THEN head.jobs - head.due
            ELSE greatest(head.jobs - head.due, (SELECT round(s.later * 100 / share.percent) FROM sampled AS s WHERE s.name = names.name))
        END::bigint AS later,
        oldest.due_at AS oldest_due_at
    FROM names
    CROSS JOIN share
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs, count(*) FILTER (WHERE scheduled_at <= now()) AS due
        FROM (
            SELECT job.scheduled_at
            FROM {schema}.jobs AS job
            WHERE job.status = 'pending' AND job.queue = names.name
            -- As the index has it, or the planner would look for them in the whole table.
            ORDER BY job.priority DESC, job.scheduled_at, job.id
            LIMIT share.exact + 1
        ) AS job
    ) AS head
    CROSS JOIN LATERAL (
        -- From one priority to the next: the first job of each is its oldest.
        WITH RECURSIVE firsts AS (
            (
                SELECT job.priority, job.scheduled_at
                FROM {schema}.jobs AS job
                WHERE job.status = 'pending' AND job.queue = names.name
                ORDER BY job.priority DESC, job.scheduled_at
                LIMIT 1
            )
            UNION ALL
            SELECT next.priority, next.scheduled_at
            FROM firsts
            CROSS JOIN LATERAL (
                SELECT job.priority, job.scheduled_at
                FROM {schema}.jobs AS job
                WHERE job.status = 'pending' AND job.queue = names.name AND job.priority < firsts.priority
                ORDER BY job.priority DESC, job.scheduled_at
                LIMIT 1
            ) AS next
        )
        SELECT min(scheduled_at) FILTER (WHERE scheduled_at <= now()) AS due_at FROM firsts
    ) AS oldest
    WHERE names.name IS NOT NULL
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
    COALESCE(waiting.estimated, false) AS estimated,
    COALESCE(active.running, 0)::bigint AS running,
    COALESCE(served.workers, 0)::bigint AS workers,
    COALESCE(served.slots, 0)::bigint AS slots,
    {time waiting.oldest_due_at} AS oldest_due_at,
    {time q.paused_at} AS paused_at,
    q.max_running
FROM waiting
FULL JOIN active USING (name)
FULL JOIN served USING (name)
FULL JOIN (SELECT name, paused_at, max_running FROM {schema}.queues) AS q USING (name)
ORDER BY name
