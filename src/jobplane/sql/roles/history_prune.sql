-- As history/prune, for a role that may not delete.
SELECT rev FROM {schema}.prune_events(:keep::float8, :limit::bigint) AS rev
