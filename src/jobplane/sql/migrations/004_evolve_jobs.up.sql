-- From the contract's table to one that workers can claim from safely. Every new column has a constant
-- default, so no row is rewritten; the table is locked for milliseconds, whatever its size.

-- An adopted table must really be the contract's: say what differs instead of failing halfway.
DO $$
DECLARE
    wrong text;
BEGIN
    SELECT string_agg(format('%s %s', expected.name, expected.type), ', ')
    INTO wrong
    FROM (VALUES
        ('id', 'uuid'), ('type', 'text'), ('payload', 'jsonb'), ('status', 'text'), ('attempts', 'integer'),
        ('max_attempts', 'integer'), ('last_error', 'text'), ('scheduled_at', 'timestamp with time zone'),
        ('started_at', 'timestamp with time zone'), ('completed_at', 'timestamp with time zone'),
        ('created_at', 'timestamp with time zone')
    ) AS expected (name, type)
    LEFT JOIN pg_attribute AS actual
        ON actual.attrelid = '{schema}.jobs'::regclass AND actual.attname = expected.name AND NOT actual.attisdropped
    WHERE actual.attname IS NULL OR format_type(actual.atttypid, NULL) <> expected.type;
    IF NOT EXISTS (
        SELECT
        FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indrelid = '{schema}.jobs'::regclass AND i.indisprimary AND i.indnkeyatts = 1 AND a.attname = 'id'
    ) THEN
        wrong := concat_ws(', ', wrong, 'a primary key on id');
    END IF;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the existing table jobs cannot be adopted: it lacks %', wrong
            USING HINT = 'Give it what is named, or let jobplane use another schema (JOBPLANE_SCHEMA).';
    END IF;
END $$;

ALTER TABLE {schema}.jobs
    -- which workers: a named stream of jobs
    ADD COLUMN IF NOT EXISTS queue text NOT NULL DEFAULT 'default',
    -- higher runs first; written by the client, or taken from payload.priority by the trigger below
    ADD COLUMN IF NOT EXISTS priority smallint NOT NULL DEFAULT 0,
    -- the fence: +1 on every claim, never reset; a write with an older epoch is refused
    ADD COLUMN IF NOT EXISTS lease_epoch bigint NOT NULL DEFAULT 0,
    -- a running job whose lease has expired may be taken from its worker
    ADD COLUMN IF NOT EXISTS lease_expires_at timestamptz,
    -- the last worker that claimed it
    ADD COLUMN IF NOT EXISTS worker_id text,
    -- at most one unfinished job for each key
    ADD COLUMN IF NOT EXISTS unique_key text,
    ADD COLUMN IF NOT EXISTS tags text[],
    -- what the handler returned
    ADD COLUMN IF NOT EXISTS result jsonb,
    -- what the handler last said of how far it is
    ADD COLUMN IF NOT EXISTS progress jsonb,
    -- set while a running job is asked to stop
    ADD COLUMN IF NOT EXISTS cancel_requested_at timestamptz,
    -- a retry policy of this job alone
    ADD COLUMN IF NOT EXISTS retry_policy jsonb;

-- A table made elsewhere may not allow 'cancelled': its check on status, however named, gives way to ours.
DO $$
DECLARE
    old record;
BEGIN
    FOR old IN
        SELECT conname
        FROM pg_constraint
        WHERE conrelid = '{schema}.jobs'::regclass
            AND contype = 'c'
            AND conkey = ARRAY[(
                SELECT attnum FROM pg_attribute WHERE attrelid = '{schema}.jobs'::regclass AND attname = 'status'
            )]
            AND pg_get_constraintdef(oid) NOT LIKE '%cancelled%'
    LOOP
        EXECUTE format('ALTER TABLE {schema}.jobs DROP CONSTRAINT %I', old.conname);
        ALTER TABLE {schema}.jobs ADD CONSTRAINT jobs_status_check
            CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')) NOT VALID;
    END LOOP;
END $$;

-- Ids made by the database sort by time too (UUID version 7, RFC 9562): PostgreSQL 18 has this built in, 15 to 17
-- do not. A version 4 id already has the variant bits; the time goes in front and bits 52 and 53 make it version 7.
CREATE OR REPLACE FUNCTION {schema}.new_job_id() RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
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

ALTER TABLE {schema}.jobs ALTER COLUMN id SET DEFAULT {schema}.new_job_id();

-- A producer that writes the contract's columns alone gives the priority in the payload. The WHEN is false
-- for jobplane's own clients, which write both: they pay for one comparison.
CREATE OR REPLACE FUNCTION {schema}.take_priority_from_payload() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF jsonb_typeof(NEW.payload -> 'priority') = 'number' THEN
        NEW.priority := least(greatest((NEW.payload ->> 'priority')::numeric, 0), 1000)::smallint;
    END IF;
    RETURN NEW;
END $$;

CREATE OR REPLACE TRIGGER take_priority_from_payload
    BEFORE INSERT ON {schema}.jobs
    FOR EACH ROW WHEN (NEW.priority = 0 AND NEW.payload ? 'priority')
    EXECUTE FUNCTION {schema}.take_priority_from_payload();

-- Rows that were waiting before the adoption.
UPDATE {schema}.jobs
SET priority = least(greatest((payload ->> 'priority')::numeric, 0), 1000)::smallint
WHERE status = 'pending' AND jsonb_typeof(payload -> 'priority') = 'number';
