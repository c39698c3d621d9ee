-- Delete the oldest transitions past their retention. In the order of time, so that what is left of a job is always
-- its last transitions without a gap.
WITH old AS MATERIALIZED (
    SELECT job_id, rev
    FROM {schema}.job_events
    WHERE at < now() - make_interval(secs => :keep::float8)
    ORDER BY at
    LIMIT :limit::bigint
)
DELETE FROM {schema}.job_events AS event
USING old
WHERE event.job_id = old.job_id AND event.rev = old.rev
RETURNING event.rev
