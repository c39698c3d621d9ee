-- Make no further jobs until someone resumes it. Pausing twice keeps the first time.
UPDATE {schema}.schedules
SET paused_at = COALESCE(paused_at, now())
WHERE name = :name::text
RETURNING name
