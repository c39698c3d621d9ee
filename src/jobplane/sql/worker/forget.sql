-- Rows of workers that died long ago.
DELETE FROM {schema}.workers WHERE heartbeat_at < now() - make_interval(secs => :after::float8)
