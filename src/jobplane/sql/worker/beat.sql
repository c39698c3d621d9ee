-- Say that this worker lives, and what it serves.
INSERT INTO {schema}.workers AS w (id, host, pid, version, queues, types, running)
VALUES (:id::text, :host::text, :pid::integer, :version::text, :queues::jsonb, :types::text[], :running::integer)
ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), running = EXCLUDED.running
