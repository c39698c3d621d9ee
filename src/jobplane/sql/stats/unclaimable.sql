-- Due jobs that no living worker can run: nobody serves the queue, or nobody there knows the type.
SELECT job.queue, job.type, count(*) AS jobs,
    LEAST(GREATEST(min(job.scheduled_at), '0001-02-01Z'), '9999-11-30Z') AS oldest_due_at
FROM {schema}.jobs AS job
WHERE job.status = 'pending'
    AND job.scheduled_at <= now()
    AND NOT EXISTS (
        SELECT
        FROM {schema}.workers AS w
        WHERE w.heartbeat_at > now() - make_interval(secs => :alive_within::float8)
            AND w.queues ? job.queue
            AND job.type = ANY (w.types)
    )
GROUP BY job.queue, job.type
ORDER BY job.queue, job.type
