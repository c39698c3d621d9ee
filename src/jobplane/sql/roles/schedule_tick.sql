-- As schedule/tick, for a role that may not make jobs.
SELECT schedule, tick, job_id, queue
FROM {schema}.make_ticks(
    :names::text[],
    :revisions::bigint[],
    :last_ticks::timestamptz[],
    :ticks::timestamptz[],
    :job_ids::uuid[],
    :decided::text[],
    :decided_revisions::bigint[],
    :decided_from::timestamptz[],
    :decided_to::timestamptz[],
    :look_ats::timestamptz[]
)
