-- Forget ticks that are so old that nobody asks for them; the newest of each schedule stays.
WITH old AS MATERIALIZED (
    SELECT t.schedule, t.tick
    FROM {schema}.schedules AS s
    CROSS JOIN LATERAL (
        SELECT max(newest.tick) AS tick FROM {schema}.schedule_ticks AS newest WHERE newest.schedule = s.name
    ) AS newest
    CROSS JOIN LATERAL (
        SELECT t.schedule, t.tick
        FROM {schema}.schedule_ticks AS t
        WHERE t.schedule = s.name
            AND t.tick < now() - make_interval(secs => :keep::float8)
            AND t.tick < newest.tick
        ORDER BY t.tick
        LIMIT :limit::bigint
    ) AS t
    LIMIT :limit::bigint
)
DELETE FROM {schema}.schedule_ticks AS t
USING old
WHERE t.schedule = old.schedule AND t.tick = old.tick
RETURNING t.tick
