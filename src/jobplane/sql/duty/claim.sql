-- Take a duty if it is due; the next is due after the interval. Whoever gets the row does it.
UPDATE {schema}.duties
SET due_at = now() + make_interval(secs => :interval::float8),
    last_run_at = now(),
    last_worker_id = :worker_id::text
WHERE name = :name::text
    AND (
        due_at <= now()
        -- Set under a longer interval. Twice: now() of one who waited for the row's lock is older than the due time
        -- that the other has just set.
        OR due_at > now() + 2 * make_interval(secs => :interval::float8)
    )
RETURNING name
