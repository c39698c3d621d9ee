-- Pruning for workers, who may not delete: as the owner, and nothing but job/prune, history/prune and schedule/prune.
CREATE OR REPLACE FUNCTION {schema}.prune_jobs(
    keep_completed double precision, keep_failed double precision, keep_cancelled double precision, "limit" bigint
) RETURNS SETOF uuid
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- The index on scheduled_at is a BRIN, which only a bitmap scan can read.
SET enable_bitmapscan = on
AS $$
BEGIN
    RETURN QUERY
{prune_jobs};
END $$;
CREATE OR REPLACE FUNCTION {schema}.prune_events(keep double precision, "limit" bigint) RETURNS SETOF integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET enable_bitmapscan = on
AS $$
BEGIN
    RETURN QUERY
{prune_events};
END $$;
CREATE OR REPLACE FUNCTION {schema}.prune_ticks(keep double precision, "limit" bigint) RETURNS SETOF timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
{prune_ticks};
END $$;
ALTER FUNCTION {schema}.prune_jobs OWNER TO {owner};
ALTER FUNCTION {schema}.prune_events OWNER TO {owner};
ALTER FUNCTION {schema}.prune_ticks OWNER TO {owner};
-- The history of a change is written by its trigger; as the owner, so that nobody else needs to write there.
ALTER FUNCTION {schema}.record_job_event SECURITY DEFINER;
-- Who may execute it enqueues with the rights of the owner; it has its own limits, and keeps to the caller's tenant.
ALTER FUNCTION {schema}.enqueue_job SECURITY DEFINER;
