-- Let at most so many jobs of a queue run at once, everywhere; NULL lifts the limit. Running jobs go on.
INSERT INTO {schema}.queues AS q (name, max_running)
VALUES (:name::text, :max_running::integer)
ON CONFLICT (name) DO UPDATE SET max_running = EXCLUDED.max_running
RETURNING name, max_running
