-- What JobQueue does: make jobs, read them, cancel and retry them, pause queues, put schedules and take them away. No
-- DELETE of a job, and no outcome.
GRANT USAGE ON SCHEMA {schema} TO {api};
GRANT SELECT ON TABLE {schema}.jobs TO {api};
GRANT INSERT (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy, tenant) ON TABLE {schema}.jobs TO {api};
GRANT UPDATE (status, max_attempts, attempts_at_retry, scheduled_at, completed_at, cancel_requested_at) ON TABLE {schema}.jobs TO {api};
GRANT SELECT ON TABLE {schema}.job_attempts TO {api};
GRANT SELECT, INSERT ON TABLE {schema}.job_events TO {api};
GRANT SELECT, INSERT, UPDATE ON TABLE {schema}.queues TO {api};
GRANT SELECT ON TABLE {schema}.workers TO {api};
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {schema}.schedules TO {api};
GRANT SELECT ON TABLE {schema}.schedule_ticks TO {api};
GRANT SELECT ON TABLE {schema}.duties TO {api};
GRANT SELECT ON TABLE {schema}.jobplane_migrations TO {api};
GRANT SELECT ON TABLE {schema}.job_overview TO {api};
-- For a plain INSERT that leaves the id to the table.
GRANT EXECUTE ON FUNCTION {schema}.new_job_id TO {api};
