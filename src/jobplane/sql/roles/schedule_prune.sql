-- As schedule/prune, for a role that may not delete.
SELECT tick FROM {schema}.prune_ticks(:keep::float8, :limit::bigint) AS tick
