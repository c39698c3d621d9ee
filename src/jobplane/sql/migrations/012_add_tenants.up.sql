-- Whose job it is, where one database serves several tenants; NULL where nobody asks. No default and no check, so that
-- the column is added without a look at the rows.
ALTER TABLE {schema}.jobs ADD COLUMN IF NOT EXISTS tenant text;

-- The same function with a tenant at its end. A call with the old arguments means what it meant, so nobody is left
-- behind; oldest code: 008.
DROP FUNCTION {schema}.enqueue_job(text, jsonb, interval, integer, integer, text, timestamptz, text, boolean);
CREATE FUNCTION {schema}.enqueue_job(
    type text,
    payload jsonb DEFAULT '{}',
    delay interval DEFAULT '0',
    max_attempts integer DEFAULT 3,
    priority integer DEFAULT NULL,
    queue text DEFAULT 'default',
    scheduled_at timestamptz DEFAULT NULL,
    unique_key text DEFAULT NULL,
    wake boolean DEFAULT true,
    tenant text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    made uuid;
    -- After a transaction that set it, an unset setting reads as ''.
    allowed text := NULLIF(current_setting('jobplane.tenant', true), '');
BEGIN
    tenant := COALESCE(tenant, allowed);
    IF type IS NULL OR type !~ '^[A-Za-z0-9_-]{1,100}$' THEN
        RAISE EXCEPTION 'type must be 1 to 100 characters of A-Z, a-z, 0-9, _ and -; got %', left(quote_nullable(type), 80)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF queue IS NULL OR queue !~ '^[A-Za-z0-9_-]{1,100}$' THEN
        RAISE EXCEPTION 'queue must be 1 to 100 characters of A-Z, a-z, 0-9, _ and -; got %', left(quote_nullable(queue), 80)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF payload IS NULL OR jsonb_typeof(payload) <> 'object' THEN
        RAISE EXCEPTION 'payload must be a JSON object; got %', COALESCE(jsonb_typeof(payload), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF octet_length(payload::text) > 1048576 THEN
        RAISE EXCEPTION 'payload must be at most 1048576 bytes; got %', octet_length(payload::text)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF max_attempts IS NULL OR max_attempts NOT BETWEEN 1 AND 100 THEN
        RAISE EXCEPTION 'max_attempts must be from 1 to 100; got %', max_attempts
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF priority NOT BETWEEN 0 AND 1000 THEN
        RAISE EXCEPTION 'priority must be from 0 to 1000; got %', priority
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF delay IS NULL OR delay NOT BETWEEN interval '0' AND interval '24 hours' THEN
        RAISE EXCEPTION 'delay must be between 0 and 24 hours; got %', delay
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF NOT isfinite(scheduled_at) OR scheduled_at > now() + interval '366 days' THEN
        RAISE EXCEPTION 'scheduled_at must be at most 366 days ahead; got %', scheduled_at
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF length(unique_key) NOT BETWEEN 1 AND 255 THEN
        RAISE EXCEPTION 'unique_key must be 1 to 255 characters; got %', length(unique_key)
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF tenant !~ '^[A-Za-z0-9._-]{1,100}$' THEN
        RAISE EXCEPTION 'tenant must be 1 to 100 characters of A-Z, a-z, 0-9, ., _ and -; got %', left(quote_nullable(tenant), 80)
            USING ERRCODE = 'invalid_parameter_value';
    -- Where roles are set up this runs as its owner, who sees all tenants: so it holds its caller to the policy of the
    -- table itself. Without roles the caller is the one that it runs as, and the policy does that.
    ELSIF (tenant IS NULL OR tenant IS DISTINCT FROM allowed)
        AND NOT pg_has_role(session_user, current_user, 'MEMBER')
        AND (SELECT relrowsecurity FROM pg_class WHERE oid = '{schema}.jobs'::regclass)
    THEN
        RAISE EXCEPTION 'the setting jobplane.tenant allows jobs of %, not of %',
            COALESCE(quote_literal(allowed), 'no tenant'), COALESCE(quote_literal(tenant), 'no tenant')
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'SELECT set_config(''jobplane.tenant'', <tenant>, true) in the same transaction.';
    END IF;

    -- Twice in case the job that holds the key ends between the two statements.
    FOR attempt IN 1..2 LOOP
        INSERT INTO {schema}.jobs (type, payload, max_attempts, priority, queue, scheduled_at, unique_key, tenant)
        VALUES (
            type,
            CASE WHEN priority IS NULL THEN payload ELSE payload || jsonb_build_object('priority', priority) END,
            max_attempts,
            COALESCE(priority, 0),
            queue,
            COALESCE(scheduled_at, now()) + delay,
            unique_key,
            tenant
        )
        ON CONFLICT DO NOTHING
        RETURNING id INTO made;
        IF made IS NOT NULL THEN
            IF wake THEN
                PERFORM pg_notify('{channel}', queue);
            END IF;
            RETURN made;
        END IF;
        -- Only the unique key can be in the way: the answer is the job that holds it.
        SELECT job.id INTO made
        FROM {schema}.jobs AS job
        WHERE job.unique_key = enqueue_job.unique_key
            AND job.tenant IS NOT DISTINCT FROM enqueue_job.tenant
            AND job.status IN ('pending', 'running');
        IF made IS NOT NULL THEN
            RETURN made;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the unique key % changed hands while it was enqueued; try again', quote_literal(unique_key)
        USING ERRCODE = 'serialization_failure';
END $$;

-- Jobs to read at ease, by whoever may not see what they carry. With the rights, and the tenant, of who reads it.
CREATE VIEW {schema}.job_overview WITH (security_invoker = true) AS
SELECT
    id,
    tenant,
    queue,
    type,
    status,
    CASE
        WHEN status = 'pending' AND attempts > 0 THEN 'retrying'
        WHEN status = 'pending' AND scheduled_at > now() THEN 'scheduled'
        WHEN status = 'running' AND cancel_requested_at IS NOT NULL THEN 'cancelling'
        ELSE status
    END AS state,
    priority,
    attempts,
    max_attempts,
    created_at,
    scheduled_at,
    started_at,
    completed_at,
    COALESCE(completed_at, now()) - started_at AS ran_for,
    worker_id,
    lease_expires_at,
    unique_key,
    tags,
    last_error
FROM {schema}.jobs;
