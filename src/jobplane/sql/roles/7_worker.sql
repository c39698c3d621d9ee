-- What the statements of a worker change, column by column. No job can be made, deleted, or made another job.
GRANT USAGE ON SCHEMA {schema} TO {worker};
GRANT SELECT ON TABLE {schema}.jobs TO {worker};
GRANT UPDATE (status, attempts, scheduled_at, started_at, completed_at, last_error, lease_epoch, lease_expires_at, worker_id, result, progress, isolated_epoch) ON TABLE {schema}.jobs TO {worker};
-- Where the epochs of first claims begin.
GRANT SELECT ON TABLE {schema}.epochs TO {worker};
GRANT SELECT ON TABLE {schema}.job_attempts TO {worker};
GRANT INSERT (job_id, epoch, attempt, outcome, error_type, message, frames, worker_id, started_at, ended_at) ON TABLE {schema}.job_attempts TO {worker};
GRANT SELECT ON TABLE {schema}.job_events TO {worker};
GRANT SELECT ON TABLE {schema}.queues TO {worker};
-- Claims from a queue with a limit lock its row, for which PostgreSQL asks for UPDATE of some column: this one says nothing.
GRANT UPDATE (created_at) ON TABLE {schema}.queues TO {worker};
-- Which schedules are due; their ticks and jobs are made by the owner's function.
GRANT SELECT ON TABLE {schema}.schedules TO {worker};
GRANT SELECT ON TABLE {schema}.schedule_ticks TO {worker};
GRANT EXECUTE ON FUNCTION {schema}.make_ticks TO {worker};
-- Its own register: a worker that leaves takes its row away, and those of workers long dead.
GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {schema}.workers TO {worker};
GRANT SELECT ON TABLE {schema}.duties TO {worker};
GRANT UPDATE (due_at, last_run_at, last_worker_id) ON TABLE {schema}.duties TO {worker};
GRANT SELECT ON TABLE {schema}.jobplane_migrations TO {worker};
GRANT EXECUTE ON FUNCTION {schema}.prune_jobs TO {worker};
GRANT EXECUTE ON FUNCTION {schema}.prune_events TO {worker};
GRANT EXECUTE ON FUNCTION {schema}.prune_ticks TO {worker};
