-- The schedules to look at now or in a moment, and the time that decides: the database's.
SELECT
    now() AS now, {time s.look_at} AS look_at, s.name, s.cron, s.timezone, s.revision, {time s.last_tick} AS last_tick,
    s.missed, s.missed_cap
FROM {schema}.schedules AS s
WHERE s.paused_at IS NULL AND s.look_at <= now() + make_interval(secs => :ahead::float8)
ORDER BY s.look_at
LIMIT :limit::bigint
