-- Limits are forgotten: every queue runs as many jobs as its workers have slots.
ALTER TABLE {schema}.queues DROP COLUMN IF EXISTS max_running;
