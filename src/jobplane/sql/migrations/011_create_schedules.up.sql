-- Jobs that come back by themselves. Any number of schedulers may look at these tables: a tick is made by inserting its
-- row, and its job comes in the same transaction.
CREATE TABLE {schema}.schedules (
    name text PRIMARY KEY,
    -- five fields, a nickname, or @every; understood by jobplane.cron
    cron text NOT NULL,
    -- a name of the IANA database
    timezone text NOT NULL DEFAULT 'UTC',
    -- the jobs that it makes, as in jobs
    type text NOT NULL,
    payload jsonb NOT NULL DEFAULT '{}',
    queue text NOT NULL DEFAULT 'default',
    priority smallint NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL DEFAULT 3,
    unique_key text,
    tags text[],
    retry_policy jsonb,
    -- what becomes of the ticks of an outage: none, the last, or the last missed_cap of them
    missed text NOT NULL DEFAULT 'latest' CHECK (missed IN ('skip', 'latest', 'all')),
    missed_cap integer NOT NULL DEFAULT 100 CHECK (missed_cap >= 1),
    paused_at timestamptz,
    -- +1 with each change: what a scheduler worked out from an older one is refused
    revision bigint NOT NULL DEFAULT 1,
    -- the newest tick that was decided on, made or skipped; at first the time of creation
    last_tick timestamptz NOT NULL DEFAULT now(),
    -- when a scheduler should look next: the next tick, once one has looked
    look_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Every scheduler asks each second which are due.
CREATE INDEX idx_schedules_look_at ON {schema}.schedules (look_at) WHERE paused_at IS NULL;

-- The ticks that were made. The key is what makes each tick come once, whoever else works on it.
CREATE TABLE {schema}.schedule_ticks (
    schedule text NOT NULL REFERENCES {schema}.schedules (name) ON DELETE CASCADE,
    tick timestamptz NOT NULL,
    -- its job; there is none of this id when an unfinished job had the schedule's unique key
    job_id uuid NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (schedule, tick)
);
