-- All schedules, or the one of a name, each with the newest tick that was made.
SELECT
    s.name, s.cron, s.timezone, s.type, s.payload::text AS payload, s.queue, s.priority, s.max_attempts, s.unique_key, s.tags,
    s.retry_policy::text AS retry_policy, s.missed, s.missed_cap,
    {time s.paused_at} AS paused_at, {time s.created_at} AS created_at, {time s.last_tick} AS decided_to,
    {time newest.tick} AS last_tick, newest.job_id AS last_job_id, now() AS now
FROM {schema}.schedules AS s
LEFT JOIN LATERAL (
    SELECT t.tick, t.job_id
    FROM {schema}.schedule_ticks AS t
    WHERE t.schedule = s.name
    ORDER BY t.tick DESC
    LIMIT 1
) AS newest ON true
WHERE :name::text IS NULL OR s.name = :name::text
ORDER BY s.name
