-- Jobs lose their tenants, and row security (jobplane tenants) and the function of the roles go with them.
ALTER TABLE {schema}.jobs DISABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.jobs NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {schema}.job_attempts DISABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.job_attempts NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {schema}.job_events DISABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.job_events NO FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own_tenant ON {schema}.job_events;
DROP POLICY IF EXISTS all_tenants ON {schema}.job_events;
DROP POLICY IF EXISTS own_tenant ON {schema}.job_attempts;
DROP POLICY IF EXISTS all_tenants ON {schema}.job_attempts;
DROP POLICY IF EXISTS own_tenant ON {schema}.jobs;
DROP POLICY IF EXISTS all_tenants ON {schema}.jobs;
DROP FUNCTION IF EXISTS {schema}.prune_jobs(double precision, double precision, double precision, bigint);
DROP FUNCTION IF EXISTS {schema}.prune_events(double precision, bigint);
DROP FUNCTION IF EXISTS {schema}.prune_ticks(double precision, bigint);
DROP VIEW {schema}.job_overview;
DROP FUNCTION {schema}.enqueue_job(text, jsonb, interval, integer, integer, text, timestamptz, text, boolean, text);
ALTER TABLE {schema}.jobs DROP COLUMN tenant;

CREATE FUNCTION {schema}.enqueue_job(
    type text,
    payload jsonb DEFAULT '{}',
    delay interval DEFAULT '0',
    max_attempts integer DEFAULT 3,
    priority integer DEFAULT NULL,
    queue text DEFAULT 'default',
    scheduled_at timestamptz DEFAULT NULL,
    unique_key text DEFAULT NULL,
    wake boolean DEFAULT true
) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    made uuid;
BEGIN
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
    END IF;

    -- Twice in case the job that holds the key ends between the two statements.
    FOR attempt IN 1..2 LOOP
        INSERT INTO {schema}.jobs (type, payload, max_attempts, priority, queue, scheduled_at, unique_key)
        VALUES (
            type,
            CASE WHEN priority IS NULL THEN payload ELSE payload || jsonb_build_object('priority', priority) END,
            max_attempts,
            COALESCE(priority, 0),
            queue,
            COALESCE(scheduled_at, now()) + delay,
            unique_key
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
        WHERE job.unique_key = enqueue_job.unique_key AND job.status IN ('pending', 'running');
        IF made IS NOT NULL THEN
            RETURN made;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the unique key % changed hands while it was enqueued; try again', quote_literal(unique_key)
        USING ERRCODE = 'serialization_failure';
END $$;
