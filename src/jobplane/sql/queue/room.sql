-- Whether a queue has a limit (no row: it has none), and whether a claim is worth the queue's lock: a herd of woken
-- claimers reads this side by side, where the lock would let them pass one by one.
SELECT
    q.max_running,
    (SELECT count(*) FROM {schema}.jobs AS busy WHERE busy.status = 'running' AND busy.queue = :queue::text) AS running,
    q.paused_at IS NULL AND EXISTS (
        SELECT
        FROM {schema}.jobs AS due
        WHERE due.status = 'pending'
            AND due.queue = :queue::text
            AND due.scheduled_at <= now()
            AND due.type = ANY (:types::text[])
    ) AS waiting
FROM {schema}.queues AS q
WHERE q.name = :queue::text AND q.max_running IS NOT NULL
