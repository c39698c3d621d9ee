-- Everything but what jobs carry: payload, result and progress.
GRANT USAGE ON SCHEMA {schema} TO {viewer};
GRANT SELECT (id, type, status, attempts, max_attempts, last_error, scheduled_at, started_at, completed_at, created_at, queue, priority, lease_epoch, lease_expires_at, worker_id, unique_key, tags, cancel_requested_at, retry_policy, tenant, isolated_epoch, attempts_at_retry) ON TABLE {schema}.jobs TO {viewer};
GRANT SELECT ON TABLE {schema}.job_overview TO {viewer};
GRANT SELECT ON TABLE {schema}.job_attempts TO {viewer};
GRANT SELECT ON TABLE {schema}.job_events TO {viewer};
GRANT SELECT ON TABLE {schema}.queues TO {viewer};
GRANT SELECT ON TABLE {schema}.workers TO {viewer};
GRANT SELECT (name, cron, timezone, type, queue, priority, max_attempts, unique_key, tags, retry_policy, missed, missed_cap, paused_at, revision, last_tick, look_at, created_at) ON TABLE {schema}.schedules TO {viewer};
GRANT SELECT ON TABLE {schema}.schedule_ticks TO {viewer};
GRANT SELECT ON TABLE {schema}.duties TO {viewer};
GRANT SELECT ON TABLE {schema}.jobplane_migrations TO {viewer};
