-- Delete ended jobs past their retention. A job ends after it was due, so the index on scheduled_at finds them.
WITH old AS MATERIALIZED (
    SELECT id
    FROM {schema}.jobs
    WHERE scheduled_at < now() - make_interval(secs => LEAST(:keep_completed::float8, :keep_failed::float8, :keep_cancelled::float8))
        AND (
            (status = 'completed' AND completed_at < now() - make_interval(secs => :keep_completed::float8))
            OR (status = 'failed' AND completed_at < now() - make_interval(secs => :keep_failed::float8))
            OR (status = 'cancelled' AND completed_at < now() - make_interval(secs => :keep_cancelled::float8))
        )
    LIMIT :limit::bigint
    FOR UPDATE SKIP LOCKED
)
DELETE FROM {schema}.jobs WHERE id = ANY (ARRAY(SELECT id FROM old))
RETURNING id
