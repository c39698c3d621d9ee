-- What was applied here, by whichever version of the code.
SELECT version, name, checksum, {time applied_at} AS applied_at FROM {schema}.jobplane_migrations ORDER BY version
