-- Make jobs again, from now on: the ticks of the pause are not made up for.
UPDATE {schema}.schedules
SET last_tick = CASE WHEN paused_at IS NULL THEN last_tick ELSE GREATEST(last_tick, now()) END,
    look_at = now(),
    paused_at = NULL
WHERE name = :name::text
RETURNING name
