-- Jobs by status, for a summary that is asked for often: exact up to :exact jobs of a status, above that estimated
-- from some of the table's pages. A table of few pages is read whole, so there all is exact.
WITH share AS MATERIALIZED (
    SELECT least(
        100.0,
        100.0 * :sample::bigint * current_setting('block_size')::bigint / greatest(pg_relation_size('{schema}.jobs'), 1)
    ) AS percent
),
sampled AS MATERIALIZED (
    SELECT status, count(*) AS jobs
    FROM {schema}.jobs TABLESAMPLE SYSTEM ((SELECT percent FROM share))
    GROUP BY status
),
counted AS (
    SELECT 'pending' AS status, count(*) AS jobs
    FROM (
        SELECT
        FROM {schema}.jobs
        WHERE status = 'pending'
        -- As the index has it, or the planner would look for them in the whole table.
        ORDER BY queue, priority DESC, scheduled_at, id
        LIMIT :exact::bigint + 1
    ) AS job
    UNION ALL
    SELECT status, jobs
    FROM unnest(ARRAY['running', 'failed', 'cancelled']) AS s (status)
    CROSS JOIN LATERAL (
        SELECT count(*) AS jobs
        FROM (
            SELECT
            FROM {schema}.jobs AS job
            WHERE job.status IN ('running', 'failed', 'cancelled') AND job.status = s.status
            ORDER BY job.id
            LIMIT :exact::bigint + 1
        ) AS job
    ) AS counted
)
SELECT
    s.status,
    CASE
        WHEN share.percent = 100 THEN COALESCE(sampled.jobs, 0)
        WHEN counted.jobs <= :exact::bigint THEN counted.jobs
        ELSE greatest(round(COALESCE(sampled.jobs, 0) * 100 / share.percent), COALESCE(counted.jobs, 0))
    END::bigint AS jobs,
    share.percent < 100 AND COALESCE(counted.jobs > :exact::bigint, true) AS estimated
FROM unnest(ARRAY['pending', 'running', 'completed', 'failed', 'cancelled']) AS s (status)
CROSS JOIN share
LEFT JOIN counted USING (status)
LEFT JOIN sampled USING (status)
