-- Whether this role makes jobs by itself, or ticks through the function of its owner.
SELECT has_any_column_privilege('{schema}.jobs', 'INSERT') AS may
