-- How much history there is.
SELECT count(*) AS transitions, {time min(at)} AS first, {time max(at)} AS last FROM {schema}.job_events
