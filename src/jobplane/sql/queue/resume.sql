-- Let workers claim from a queue again.
UPDATE {schema}.queues
SET paused_at = NULL
WHERE name = :name::text
RETURNING name
