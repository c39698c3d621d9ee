-- Due jobs that no living worker can run: nobody serves the queue, or nobody there knows the type. They gather at the
-- head of their queue, where this looks: at no more than :exact jobs, shared evenly among the queues that have any.
-- What waits behind those is estimated from some of the table's pages.
WITH RECURSIVE names AS (
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
head AS MATERIALIZED (
    SELECT names.name AS queue, job.type, job.scheduled_at, count(*) OVER (PARTITION BY names.name) > share.exact AS full_up
    FROM names
    CROSS JOIN share
    CROSS JOIN LATERAL (
        SELECT job.type, job.scheduled_at
        FROM {schema}.jobs AS job
        WHERE job.status = 'pending' AND job.queue = names.name
        -- As the index has it, or the planner would look for them in the whole table.
        ORDER BY job.priority DESC, job.scheduled_at, job.id
        LIMIT share.exact + 1
    ) AS job
    WHERE names.name IS NOT NULL
),
due AS (
    SELECT queue, type, count(*) AS jobs, min(scheduled_at) AS oldest_due_at, full_up
    FROM head
    WHERE scheduled_at <= now()
    GROUP BY queue, type, full_up
),
-- Read only where a queue holds more than its share.
sampled AS MATERIALIZED (
    SELECT job.queue, job.type, round(count(*) * 100 / share.percent) AS jobs, min(job.scheduled_at) AS oldest_due_at
    FROM {schema}.jobs AS job TABLESAMPLE SYSTEM ((SELECT percent FROM share))
    CROSS JOIN share
    WHERE job.status = 'pending' AND job.scheduled_at <= now() AND EXISTS (SELECT FROM head WHERE head.full_up)
    GROUP BY job.queue, job.type, share.percent
),
both_parts AS (
    SELECT queue, type, jobs, oldest_due_at, full_up AS estimated FROM due
    UNION ALL
    SELECT sampled.queue, sampled.type, sampled.jobs, sampled.oldest_due_at, true
    FROM sampled
    WHERE EXISTS (SELECT FROM head WHERE head.queue = sampled.queue AND head.full_up)
)
SELECT queue, type, max(jobs)::bigint AS jobs,
    {time min(oldest_due_at)} AS oldest_due_at,
    bool_or(estimated) AS estimated
FROM both_parts
WHERE NOT EXISTS (
    SELECT
    FROM {schema}.workers AS w
    WHERE w.heartbeat_at > now() - make_interval(secs => :alive_within::float8)
        AND w.queues ? both_parts.queue
        AND both_parts.type = ANY (w.types)
)
GROUP BY queue, type
ORDER BY queue, type
