-- The functions and the view as they were; those of `jobplane roles` that came with this version go.
DROP FUNCTION IF EXISTS {schema}.cancel_job(uuid);
DROP FUNCTION IF EXISTS {schema}.retry_job(uuid, integer);
DROP FUNCTION IF EXISTS {schema}.in_tenant(uuid);
DO $$
BEGIN
    PERFORM set_config('jobplane.definers', COALESCE((
        SELECT string_agg(proname, ' ')
        FROM pg_proc
        WHERE pronamespace = '{schema}'::regnamespace AND prosecdef AND proname IN ('enqueue_job', 'record_job_event')
    ), ''), true);
END $$;

CREATE OR REPLACE FUNCTION {schema}.enqueue_job(
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

CREATE OR REPLACE FUNCTION {schema}.record_job_event() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    statement text := substring(current_query() FROM '^/\* jobplane: ([a-z_/]+) \*/');
    job {schema}.jobs := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
    verb text;
BEGIN
    verb := CASE
        WHEN TG_OP = 'INSERT' THEN 'enqueue'
        WHEN TG_OP = 'DELETE' THEN CASE statement WHEN 'job/prune' THEN 'prune' ELSE 'delete' END
        WHEN statement IN ('job/complete', 'job/finish') AND OLD.status = 'running' THEN
            CASE
                WHEN NEW.status = 'completed' THEN 'complete'
                WHEN NEW.status = 'failed' THEN 'fail'
                WHEN NEW.status = 'cancelled' THEN 'cancel'
                WHEN NEW.attempts = OLD.attempts THEN 'reschedule'
                WHEN NEW.scheduled_at <> OLD.scheduled_at THEN 'snooze'
                ELSE 'release'
            END
        WHEN statement LIKE 'job/claim%' THEN 'claim'
        WHEN statement LIKE 'job/%' THEN substr(statement, 5)
        ELSE 'other'
    END;
    INSERT INTO {schema}.job_events
        (job_id, rev, verb, from_status, to_status, epoch, attempts, max_attempts, type, queue, priority,
         unique_key, scheduled_at, lease_was, lease_is, worker_id, actor)
    SELECT
        job.id,
        -- The row's own lock keeps two changes of one job apart.
        COALESCE((SELECT max(e.rev) FROM {schema}.job_events AS e WHERE e.job_id = job.id), 0) + 1,
        verb,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.status END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.status END,
        job.lease_epoch,
        job.attempts,
        job.max_attempts,
        job.type,
        job.queue,
        job.priority,
        job.unique_key,
        job.scheduled_at,
        CASE WHEN TG_OP <> 'INSERT' THEN OLD.lease_expires_at END,
        CASE WHEN TG_OP <> 'DELETE' THEN NEW.lease_expires_at END,
        job.worker_id,
        current_setting('application_name');
    RETURN NULL;
END $$;

CREATE OR REPLACE VIEW {schema}.job_overview WITH (security_invoker = true) AS
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

DO $$
DECLARE
    definer text;
BEGIN
    FOREACH definer IN ARRAY string_to_array(current_setting('jobplane.definers'), ' ') LOOP
        EXECUTE format('ALTER FUNCTION {schema}.%I SECURITY DEFINER', definer);
    END LOOP;
END $$;
