-- Keep the history from now on: each change of a job adds a row to job_events, in the same statement. Progress alone
-- is no change of the job's state. Takes a lock that lets readers pass and holds up writers for a moment.
CREATE OR REPLACE TRIGGER record_job_change
    AFTER INSERT OR DELETE OR UPDATE OF
        status, attempts, max_attempts, lease_epoch, lease_expires_at, worker_id, scheduled_at, completed_at,
        cancel_requested_at, queue, priority, type, unique_key
    ON {schema}.jobs
    FOR EACH ROW
    EXECUTE FUNCTION {schema}.record_job_event()
