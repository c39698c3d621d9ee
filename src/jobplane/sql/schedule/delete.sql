-- Forget a schedule and its ticks; the jobs that it made stay.
DELETE FROM {schema}.schedules
WHERE name = :name::text
RETURNING name
