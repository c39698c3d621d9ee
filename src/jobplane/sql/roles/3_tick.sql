-- The ticks of schedules for workers, who may not make jobs: as the owner, and nothing but schedule/tick.
CREATE OR REPLACE FUNCTION {schema}.make_ticks(
    names text[], revisions bigint[], last_ticks timestamptz[], ticks timestamptz[], job_ids uuid[],
    decided text[], decided_revisions bigint[], decided_from timestamptz[], decided_to timestamptz[], look_ats timestamptz[]
) RETURNS TABLE (schedule text, tick timestamptz, job_id uuid, queue text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
{make_ticks};
END $$;
ALTER FUNCTION {schema}.make_ticks OWNER TO {owner};
