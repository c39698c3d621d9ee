-- The history of transitions: what became of each job, in order, by whom. Kept only while someone wants it: the
-- table stays empty, and costs nothing, until the triggers of sql/history/on.sql exist.
CREATE TABLE {schema}.job_events (
    -- no foreign key: the history outlives the job that was pruned
    job_id uuid NOT NULL,
    -- counts the changes of one job without a gap: their order needs no clock
    rev integer NOT NULL,
    -- as in docs/design/state_machine.md; 'other' for a writer that is not jobplane
    verb text NOT NULL,
    from_status text,
    to_status text,
    -- the fence after the change
    epoch bigint NOT NULL,
    attempts integer NOT NULL,
    max_attempts integer NOT NULL,
    type text NOT NULL,
    queue text NOT NULL,
    priority smallint NOT NULL,
    unique_key text,
    scheduled_at timestamptz NOT NULL,
    -- the lease before and after the change
    lease_was timestamptz,
    lease_is timestamptz,
    -- whose claim it is
    worker_id text,
    -- who wrote: the application_name of the connection
    actor text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (job_id, rev)
);

-- Reading and pruning go by time. Not a BRIN: once pruned pages take new rows, its ranges span everything, and each
-- look for old rows would read the whole table.
CREATE INDEX idx_job_events_at ON {schema}.job_events (at);

-- The statement that made a change says which it is in its first comment (jobplane.sql puts it there); which verb of
-- the state machine that was is told from the row. Nothing here can refuse a change.
CREATE FUNCTION {schema}.record_job_event() RETURNS trigger
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
