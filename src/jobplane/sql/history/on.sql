-- Keep the history from now on: each change of a job adds a row to job_events, in the same statement. Progress alone
-- is no change of the job's state. Takes a lock that lets readers pass and holds up writers for a moment. The
-- trigger's comment says since when: transitions from before may have gaps.
DO $$
BEGIN
    CREATE OR REPLACE TRIGGER record_job_change
        AFTER INSERT OR DELETE OR UPDATE OF
            status, attempts, max_attempts, lease_epoch, lease_expires_at, worker_id, scheduled_at, completed_at,
            cancel_requested_at, queue, priority, type, unique_key
        ON {schema}.jobs
        FOR EACH ROW
        EXECUTE FUNCTION {schema}.record_job_event();
    IF NOT EXISTS (
        SELECT
        FROM pg_catalog.pg_trigger
        WHERE tgrelid = '{schema}.jobs'::regclass
            AND tgname = 'record_job_change'
            AND pg_catalog.obj_description(oid, 'pg_trigger') IS NOT NULL
    ) THEN
        EXECUTE format(
            'COMMENT ON TRIGGER record_job_change ON {schema}.jobs IS %L',
            'history kept since ' || to_json(clock_timestamp() AT TIME ZONE 'UTC')::text
        );
    END IF;
END $$
