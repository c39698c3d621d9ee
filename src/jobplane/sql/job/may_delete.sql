-- Whether this role prunes by itself, or through the function of its owner.
SELECT has_table_privilege('{schema}.jobs', 'DELETE') AS may
