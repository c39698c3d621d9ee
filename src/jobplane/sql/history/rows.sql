-- Every job as the check of a history sees it.
SELECT
    job.id,
    job.status,
    job.attempts,
    job.max_attempts,
    job.lease_epoch,
    job.queue,
    job.unique_key,
    {time job.scheduled_at} AS scheduled_at,
    {time job.lease_expires_at} AS lease_expires_at,
    job.completed_at IS NOT NULL AS ended,
    -- Migration 004 gave jobs their epochs: what was there before it may be as other software left it.
    COALESCE(job.created_at < evolved.applied_at, false) AS adopted
FROM {schema}.jobs AS job
LEFT JOIN {schema}.jobplane_migrations AS evolved ON evolved.version = 4
