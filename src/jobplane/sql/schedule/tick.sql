-- Make ticks and their jobs, and move their schedules on, all at once or not at all. Whichever scheduler inserts a
-- tick's row makes its job; the key of schedule_ticks sees to it that only one does.
WITH wanted AS (
    SELECT *
    FROM unnest(
        :names::text[],
        :revisions::bigint[],
        :last_ticks::timestamptz[],
        :ticks::timestamptz[],
        :job_ids::uuid[]
    ) AS w (name, revision, last_tick, tick, job_id)
),
ticked AS (
    INSERT INTO {schema}.schedule_ticks (schedule, tick, job_id, made_at)
    SELECT s.name, wanted.tick, wanted.job_id, now()
    FROM wanted
    JOIN {schema}.schedules AS s
        ON s.name = wanted.name AND s.revision = wanted.revision AND s.last_tick = wanted.last_tick
    WHERE s.paused_at IS NULL AND wanted.tick <= now()
    -- In one order, whoever does it: two schedulers at work on the same ticks cannot lock one another out.
    ORDER BY s.name, wanted.tick
    ON CONFLICT (schedule, tick) DO NOTHING
    RETURNING schedule, tick, job_id
),
made AS (
    INSERT INTO {schema}.jobs
        (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy)
    SELECT
        ticked.job_id,
        s.type,
        s.payload,
        s.queue,
        s.priority,
        s.max_attempts,
        ticked.tick,
        s.unique_key,
        ARRAY[
            'schedule:' || s.name,
            'tick:' || to_char(ticked.tick AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
        ] || COALESCE(s.tags, '{}'),
        s.retry_policy
    FROM ticked
    JOIN {schema}.schedules AS s ON s.name = ticked.schedule
    -- An unfinished job has the schedule's unique key: this tick has no job of its own.
    ON CONFLICT DO NOTHING
    RETURNING id, queue
),
moved AS (
    -- Only from where the scheduler saw it: the decision of one that was slower must not hide ticks of this one.
    UPDATE {schema}.schedules AS s
    SET last_tick = decided.newest,
        look_at = decided.look_at
    FROM unnest(
        :decided::text[],
        :decided_revisions::bigint[],
        :decided_from::timestamptz[],
        :decided_to::timestamptz[],
        :look_ats::timestamptz[]
    ) AS decided (name, revision, last_tick, newest, look_at)
    WHERE s.name = decided.name AND s.revision = decided.revision AND s.last_tick = decided.last_tick
)
SELECT ticked.schedule, ticked.tick, made.id AS job_id, made.queue
FROM ticked
LEFT JOIN made ON made.id = ticked.job_id
