-- One claimer of a limited queue at a time: whoever has this row counts what runs, and nobody else adds to it until
-- that claim is committed. No row: the queue has no limit any more, or is paused.
SELECT q.max_running
FROM {schema}.queues AS q
WHERE q.name = :queue::text AND q.max_running IS NOT NULL AND q.paused_at IS NULL
FOR NO KEY UPDATE
