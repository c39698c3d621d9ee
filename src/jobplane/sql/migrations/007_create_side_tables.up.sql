-- What stands beside the jobs. None of it is needed to know what a job's status is: jobs is the truth.

-- Attempts that did not complete, one row each: the history of a job's failures.
CREATE TABLE {schema}.job_attempts (
    job_id uuid NOT NULL REFERENCES {schema}.jobs (id) ON DELETE CASCADE,
    -- the claim that it was: lease_epoch at that time
    epoch bigint NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('failed', 'timeout', 'crashed', 'interrupted', 'cancelled')),
    error_type text,
    message text,
    -- file, line and function of each frame; never source text or values
    frames jsonb NOT NULL DEFAULT '[]',
    worker_id text,
    started_at timestamptz,
    ended_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (job_id, epoch)
);

-- Queues that someone gave a state of its own; a queue without a row runs.
CREATE TABLE {schema}.queues (
    name text PRIMARY KEY,
    paused_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Worker processes, as of their last heartbeat.
CREATE TABLE {schema}.workers (
    id text PRIMARY KEY,
    host text NOT NULL,
    pid integer NOT NULL,
    version text NOT NULL,
    queues jsonb NOT NULL DEFAULT '{}',
    -- the job types that its registry knows
    types text[] NOT NULL DEFAULT '{}',
    running integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL DEFAULT now(),
    heartbeat_at timestamptz NOT NULL DEFAULT now()
);

-- Maintenance that some worker must do now and then: whoever finds a duty due takes it by update.
CREATE TABLE {schema}.duties (
    name text PRIMARY KEY,
    due_at timestamptz NOT NULL DEFAULT now(),
    last_run_at timestamptz,
    last_worker_id text
);
INSERT INTO {schema}.duties (name) VALUES ('rescue'), ('prune');
