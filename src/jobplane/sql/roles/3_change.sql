-- What clients change of a job, as the owner, and nothing but job/cancel and job/retry: whoever might write the columns
-- themselves could complete a job, or let it run for ever.
CREATE OR REPLACE FUNCTION {schema}.in_tenant(id uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- The owner sees all tenants, so it holds its caller to the policy of the table. Members of the roles that the policy
    -- leaves out are not held to it.
    IF NOT (SELECT relrowsecurity FROM pg_class WHERE oid = '{schema}.jobs'::regclass)
        OR pg_has_role(session_user, '{owner_name}', 'MEMBER')
        OR pg_has_role(session_user, '{worker_name}', 'MEMBER')
    THEN
        RETURN true;
    END IF;
    -- Locked, so that it is still the same job when it is changed.
    PERFORM
    FROM {schema}.jobs AS job
    WHERE job.id = in_tenant.id AND job.tenant = NULLIF(current_setting('jobplane.tenant', true), '')
    FOR NO KEY UPDATE;
    RETURN FOUND;
END $$;
CREATE OR REPLACE FUNCTION {schema}.cancel_job(id uuid) RETURNS TABLE (job_id uuid, job_status text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF {schema}.in_tenant(cancel_job.id) THEN
        RETURN QUERY
{cancel_job};
    END IF;
END $$;
CREATE OR REPLACE FUNCTION {schema}.retry_job(id uuid, extra_attempts integer) RETURNS TABLE (job_id uuid, job_queue text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF extra_attempts IS NULL OR extra_attempts NOT BETWEEN 0 AND 100 THEN
        RAISE EXCEPTION 'extra_attempts must be from 0 to 100; got %', extra_attempts
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF {schema}.in_tenant(retry_job.id) THEN
        RETURN QUERY
{retry_job};
    END IF;
END $$;
ALTER FUNCTION {schema}.in_tenant OWNER TO {owner};
ALTER FUNCTION {schema}.cancel_job OWNER TO {owner};
ALTER FUNCTION {schema}.retry_job OWNER TO {owner};
