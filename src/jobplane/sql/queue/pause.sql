-- Stop claims from a queue; running jobs go on. Pausing twice keeps the first time.
INSERT INTO {schema}.queues AS q (name, paused_at)
VALUES (:name::text, now())
ON CONFLICT (name) DO UPDATE SET paused_at = COALESCE(q.paused_at, EXCLUDED.paused_at)
RETURNING name, paused_at
