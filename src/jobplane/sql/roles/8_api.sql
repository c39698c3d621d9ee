-- What JobQueue does: make jobs, read them, cancel and retry them, pause and limit queues, put schedules and take them away.
-- No DELETE of a job, and no column of one: a job that is there is changed by the functions alone.
GRANT USAGE ON SCHEMA {schema} TO {api};
GRANT SELECT ON TABLE {schema}.jobs TO {api};
GRANT INSERT (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy, tenant) ON TABLE {schema}.jobs TO {api};
GRANT EXECUTE ON FUNCTION {schema}.cancel_job TO {api};
GRANT EXECUTE ON FUNCTION {schema}.retry_job TO {api};
GRANT SELECT ON TABLE {schema}.job_attempts TO {api};
GRANT SELECT ON TABLE {schema}.job_events TO {api};
GRANT SELECT ON TABLE {schema}.queues TO {api};
GRANT INSERT (name, paused_at, max_running) ON TABLE {schema}.queues TO {api};
GRANT UPDATE (paused_at, max_running) ON TABLE {schema}.queues TO {api};
GRANT SELECT ON TABLE {schema}.workers TO {api};
GRANT SELECT, DELETE ON TABLE {schema}.schedules TO {api};
GRANT INSERT (name, cron, timezone, type, payload, queue, priority, max_attempts, unique_key, tags, retry_policy, missed, missed_cap, last_tick, look_at, created_at) ON TABLE {schema}.schedules TO {api};
GRANT UPDATE (cron, timezone, type, payload, queue, priority, max_attempts, unique_key, tags, retry_policy, missed, missed_cap, paused_at, revision, last_tick, look_at) ON TABLE {schema}.schedules TO {api};
GRANT SELECT ON TABLE {schema}.schedule_ticks TO {api};
GRANT SELECT ON TABLE {schema}.duties TO {api};
GRANT SELECT ON TABLE {schema}.jobplane_migrations TO {api};
GRANT SELECT ON TABLE {schema}.job_overview TO {api};
-- For a plain INSERT that leaves the id to the table.
GRANT EXECUTE ON FUNCTION {schema}.new_job_id TO {api};
