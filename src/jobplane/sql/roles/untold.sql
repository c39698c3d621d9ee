-- Unfinished jobs of no tenant: with row security nobody but workers and the owner sees them.
SELECT count(*) AS jobs FROM {schema}.jobs WHERE status IN ('pending', 'running') AND tenant IS NULL
