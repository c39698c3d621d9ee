-- Jobs by status, for a summary. Counts every row: for tests, demos and small tables.
SELECT status, count(*) AS jobs FROM {schema}.jobs GROUP BY status
