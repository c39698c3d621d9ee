-- How much history there is.
SELECT count(*) AS transitions, min(at) AS first, max(at) AS last FROM {schema}.job_events
