-- Made by tools/dump_schema.py --write; checked by make check.

CREATE SCHEMA control_plane;

CREATE FUNCTION control_plane.enqueue_job(type text, payload jsonb DEFAULT '{}'::jsonb, delay interval DEFAULT '00:00:00'::interval, max_attempts integer DEFAULT 3, priority integer DEFAULT NULL::integer, queue text DEFAULT 'default'::text, scheduled_at timestamp with time zone DEFAULT NULL::timestamp with time zone, unique_key text DEFAULT NULL::text, wake boolean DEFAULT true, tenant text DEFAULT NULL::text) RETURNS uuid
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
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
    ELSIF NOT isfinite(scheduled_at)
        OR scheduled_at NOT BETWEEN timestamptz '0001-01-01 00:00:00+00' AND now() + interval '366 days'
    THEN
        RAISE EXCEPTION 'scheduled_at must be from the year 1 to 366 days ahead; got %', scheduled_at
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
        AND (SELECT relrowsecurity FROM pg_class WHERE oid = '"control_plane".jobs'::regclass)
    THEN
        RAISE EXCEPTION 'the setting jobplane.tenant allows jobs of %, not of %',
            COALESCE(quote_literal(allowed), 'no tenant'), COALESCE(quote_literal(tenant), 'no tenant')
            USING ERRCODE = 'insufficient_privilege',
                HINT = 'SELECT set_config(''jobplane.tenant'', <tenant>, true) in the same transaction.';
    END IF;

    -- Twice in case the job that holds the key ends between the two statements.
    FOR attempt IN 1..2 LOOP
        INSERT INTO "control_plane".jobs (type, payload, max_attempts, priority, queue, scheduled_at, unique_key, tenant)
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
                PERFORM pg_notify('jobplane_control_plane', queue);
            END IF;
            RETURN made;
        END IF;
        -- Only the unique key can be in the way: the answer is the job that holds it.
        SELECT job.id INTO made
        FROM "control_plane".jobs AS job
        WHERE job.unique_key = enqueue_job.unique_key
            AND job.tenant IS NOT DISTINCT FROM enqueue_job.tenant
            AND job.status IN ('pending', 'running');
        IF made IS NOT NULL THEN
            RETURN made;
        END IF;
    END LOOP;
    RAISE EXCEPTION 'the unique key % changed hands while it was enqueued; try again', quote_literal(unique_key)
        USING ERRCODE = 'serialization_failure';
END $_$;

CREATE FUNCTION control_plane.keep_epochs() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    highest bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT max(lease_epoch) INTO highest FROM deleted;
    ELSE
        SELECT max(lease_epoch) INTO highest FROM "control_plane".jobs;
    END IF;
    IF highest > COALESCE((SELECT spent FROM "control_plane".epochs WHERE only_row), 0) THEN
        -- An insert, since the row may have been emptied away with the jobs.
        INSERT INTO "control_plane".epochs AS e (spent) VALUES (highest)
        ON CONFLICT (only_row) DO UPDATE SET spent = GREATEST(e.spent, EXCLUDED.spent);
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION control_plane.new_job_id() RETURNS uuid
    LANGUAGE sql PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(
                uuid_send(gen_random_uuid())
                PLACING substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3)
                FROM 1 FOR 6
            ), 52, 1), 53, 1),
        'hex'
    )::uuid
$$;

CREATE FUNCTION control_plane.record_job_event() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    statement text := substring(current_query() FROM '^/[*] jobplane: ([a-z_/]+) [*]/');
    job "control_plane".jobs := CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
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
    INSERT INTO "control_plane".job_events
        (job_id, rev, verb, from_status, to_status, epoch, attempts, max_attempts, type, queue, priority,
         unique_key, scheduled_at, lease_was, lease_is, worker_id, actor)
    SELECT
        job.id,
        -- The row's own lock keeps two changes of one job apart.
        COALESCE((SELECT max(e.rev) FROM "control_plane".job_events AS e WHERE e.job_id = job.id), 0) + 1,
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

CREATE FUNCTION control_plane.take_priority_from_payload() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF jsonb_typeof(NEW.payload -> 'priority') = 'number' THEN
        NEW.priority := least(greatest((NEW.payload ->> 'priority')::numeric, 0), 1000)::smallint;
    END IF;
    RETURN NEW;
END $$;

CREATE TABLE control_plane.duties (
    name text NOT NULL,
    due_at timestamp with time zone DEFAULT now() NOT NULL,
    last_run_at timestamp with time zone,
    last_worker_id text
);

CREATE TABLE control_plane.epochs (
    only_row boolean DEFAULT true NOT NULL,
    spent bigint NOT NULL,
    CONSTRAINT epochs_only_row_check CHECK (only_row)
);

CREATE TABLE control_plane.job_attempts (
    job_id uuid NOT NULL,
    epoch bigint NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL,
    error_type text,
    message text,
    frames jsonb DEFAULT '[]'::jsonb NOT NULL,
    worker_id text,
    started_at timestamp with time zone,
    ended_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT job_attempts_outcome_check CHECK ((outcome = ANY (ARRAY['failed'::text, 'timeout'::text, 'crashed'::text, 'interrupted'::text, 'cancelled'::text])))
);

CREATE TABLE control_plane.job_events (
    job_id uuid NOT NULL,
    rev integer NOT NULL,
    verb text NOT NULL,
    from_status text,
    to_status text,
    epoch bigint NOT NULL,
    attempts integer NOT NULL,
    max_attempts integer NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    priority smallint NOT NULL,
    unique_key text,
    scheduled_at timestamp with time zone NOT NULL,
    lease_was timestamp with time zone,
    lease_is timestamp with time zone,
    worker_id text,
    actor text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL
);

CREATE TABLE control_plane.jobs (
    id uuid DEFAULT control_plane.new_job_id() NOT NULL,
    type text NOT NULL,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    status text DEFAULT 'pending'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    max_attempts integer DEFAULT 3 NOT NULL,
    last_error text,
    scheduled_at timestamp with time zone DEFAULT now() NOT NULL,
    started_at timestamp with time zone,
    completed_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    queue text DEFAULT 'default'::text NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    lease_epoch bigint DEFAULT 0 NOT NULL,
    lease_expires_at timestamp with time zone,
    worker_id text,
    unique_key text,
    tags text[],
    result jsonb,
    progress jsonb,
    cancel_requested_at timestamp with time zone,
    retry_policy jsonb,
    tenant text,
    isolated_epoch bigint,
    attempts_at_retry integer,
    CONSTRAINT jobs_attempts_check CHECK ((attempts >= 0)),
    CONSTRAINT jobs_max_attempts_check CHECK ((max_attempts > 0)),
    CONSTRAINT jobs_status_check CHECK ((status = ANY (ARRAY['pending'::text, 'running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text])))
);

CREATE VIEW control_plane.job_overview WITH (security_invoker='true') AS
 SELECT id,
    tenant,
    queue,
    type,
    status,
        CASE
            WHEN ((status = 'pending'::text) AND (attempts > 0)) THEN 'retrying'::text
            WHEN ((status = 'pending'::text) AND (scheduled_at > now())) THEN 'scheduled'::text
            WHEN ((status = 'running'::text) AND (cancel_requested_at IS NOT NULL)) THEN 'cancelling'::text
            ELSE status
        END AS state,
    priority,
    attempts,
    max_attempts,
    created_at,
    scheduled_at,
    started_at,
    completed_at,
        CASE
            WHEN (isfinite(COALESCE(completed_at, now())) AND isfinite(started_at)) THEN (COALESCE(completed_at, now()) - started_at)
            ELSE NULL::interval
        END AS ran_for,
    worker_id,
    lease_expires_at,
    unique_key,
    tags,
    last_error
   FROM control_plane.jobs;

CREATE TABLE control_plane.jobplane_migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE control_plane.queues (
    name text NOT NULL,
    paused_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    max_running integer,
    CONSTRAINT queues_max_running_check CHECK ((max_running >= 1))
);

CREATE TABLE control_plane.schedule_ticks (
    schedule text NOT NULL,
    tick timestamp with time zone NOT NULL,
    job_id uuid NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE control_plane.schedules (
    name text NOT NULL,
    cron text NOT NULL,
    timezone text DEFAULT 'UTC'::text NOT NULL,
    type text NOT NULL,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    queue text DEFAULT 'default'::text NOT NULL,
    priority smallint DEFAULT 0 NOT NULL,
    max_attempts integer DEFAULT 3 NOT NULL,
    unique_key text,
    tags text[],
    retry_policy jsonb,
    missed text DEFAULT 'latest'::text NOT NULL,
    missed_cap integer DEFAULT 100 NOT NULL,
    paused_at timestamp with time zone,
    revision bigint DEFAULT 1 NOT NULL,
    last_tick timestamp with time zone DEFAULT now() NOT NULL,
    look_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT schedules_missed_cap_check CHECK ((missed_cap >= 1)),
    CONSTRAINT schedules_missed_check CHECK ((missed = ANY (ARRAY['skip'::text, 'latest'::text, 'all'::text])))
);

CREATE TABLE control_plane.workers (
    id text NOT NULL,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues jsonb DEFAULT '{}'::jsonb NOT NULL,
    types text[] DEFAULT '{}'::text[] NOT NULL,
    running integer DEFAULT 0 NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    heartbeat_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE ONLY control_plane.duties
    ADD CONSTRAINT duties_pkey PRIMARY KEY (name);

ALTER TABLE ONLY control_plane.epochs
    ADD CONSTRAINT epochs_pkey PRIMARY KEY (only_row);

ALTER TABLE ONLY control_plane.job_attempts
    ADD CONSTRAINT job_attempts_pkey PRIMARY KEY (job_id, epoch);

ALTER TABLE ONLY control_plane.job_events
    ADD CONSTRAINT job_events_pkey PRIMARY KEY (job_id, rev);

ALTER TABLE ONLY control_plane.jobplane_migrations
    ADD CONSTRAINT jobplane_migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY control_plane.jobs
    ADD CONSTRAINT jobs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control_plane.queues
    ADD CONSTRAINT queues_pkey PRIMARY KEY (name);

ALTER TABLE ONLY control_plane.schedule_ticks
    ADD CONSTRAINT schedule_ticks_pkey PRIMARY KEY (schedule, tick);

ALTER TABLE ONLY control_plane.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (name);

ALTER TABLE ONLY control_plane.workers
    ADD CONSTRAINT workers_pkey PRIMARY KEY (id);

CREATE INDEX idx_job_events_at ON control_plane.job_events USING btree (at);

CREATE INDEX idx_jobs_scheduled_at ON control_plane.jobs USING brin (scheduled_at) WITH (pages_per_range='16', autosummarize='on');

CREATE INDEX idx_jobs_status ON control_plane.jobs USING btree (status, id) WHERE (status = ANY (ARRAY['running'::text, 'failed'::text, 'cancelled'::text]));

CREATE INDEX idx_jobs_status_scheduled_at ON control_plane.jobs USING btree (queue, priority DESC, scheduled_at, id) WHERE (status = 'pending'::text);

CREATE UNIQUE INDEX idx_jobs_unique_key ON control_plane.jobs USING btree (unique_key, tenant) NULLS NOT DISTINCT WHERE ((unique_key IS NOT NULL) AND (status = ANY (ARRAY['pending'::text, 'running'::text])));

CREATE INDEX idx_schedules_look_at ON control_plane.schedules USING btree (look_at) WHERE (paused_at IS NULL);

CREATE TRIGGER keep_epochs AFTER DELETE ON control_plane.jobs REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION control_plane.keep_epochs();

CREATE TRIGGER keep_epochs_of_all BEFORE TRUNCATE ON control_plane.jobs FOR EACH STATEMENT EXECUTE FUNCTION control_plane.keep_epochs();

CREATE TRIGGER take_priority_from_payload BEFORE INSERT ON control_plane.jobs FOR EACH ROW WHEN (((new.priority = 0) AND (new.payload ? 'priority'::text))) EXECUTE FUNCTION control_plane.take_priority_from_payload();

ALTER TABLE ONLY control_plane.job_attempts
    ADD CONSTRAINT job_attempts_job_id_fkey FOREIGN KEY (job_id) REFERENCES control_plane.jobs(id) ON DELETE CASCADE;

ALTER TABLE ONLY control_plane.schedule_ticks
    ADD CONSTRAINT schedule_ticks_schedule_fkey FOREIGN KEY (schedule) REFERENCES control_plane.schedules(name) ON DELETE CASCADE;
