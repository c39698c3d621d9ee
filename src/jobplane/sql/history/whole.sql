-- Whether the transitions from a time on tell of every job from its enqueue on.
SELECT NOT EXISTS (
    SELECT
    FROM {schema}.jobs AS job
    FULL JOIN (
        SELECT job_id, min(rev) FILTER (WHERE from_status IS NULL) AS born
        FROM {schema}.job_events
        WHERE at >= :since::timestamptz
        GROUP BY job_id
    ) AS known ON known.job_id = job.id
    WHERE known.born IS DISTINCT FROM 1
) AS whole
