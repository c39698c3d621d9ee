-- Workers and how long ago each was heard of.
SELECT
    id, host, pid, version, queues::text AS queues, types, running,
    {time started_at} AS started_at, {time heartbeat_at} AS heartbeat_at,
    extract(epoch FROM now() - {time heartbeat_at})::float8 AS silent_for
FROM {schema}.workers
ORDER BY started_at, id
