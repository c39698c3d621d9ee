-- As job/prune, for a role that may not delete.
SELECT id
FROM {schema}.prune_jobs(:keep_completed::float8, :keep_failed::float8, :keep_cancelled::float8, :limit::bigint) AS id
