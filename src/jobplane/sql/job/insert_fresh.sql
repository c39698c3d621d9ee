-- One job under an id that was made for it, and without a key: as job/insert, but without looking for what might be
-- there already, which costs a tenth of the whole. What can be there is only the same job, of a try whose answer was
-- lost: that is a unique_violation, and job/insert is asked then. Never on a caller's connection, whose transaction
-- the error would spoil.
INSERT INTO {schema}.jobs (id, type, payload, queue, priority, max_attempts, scheduled_at)
VALUES (
    :id::uuid,
    :type::text,
    :payload::text::jsonb,
    :queue::text,
    :priority::smallint,
    :max_attempts::integer,
    now()
)
RETURNING scheduled_at, created_at
