-- Workers and how long ago each was heard of.
SELECT
    id, host, pid, version, queues::text AS queues, types, running, started_at, heartbeat_at,
    extract(epoch FROM now() - heartbeat_at)::float8 AS silent_for
FROM {schema}.workers
ORDER BY started_at, id
