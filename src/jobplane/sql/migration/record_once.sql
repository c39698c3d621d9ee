-- The same for scripts that another tool runs: it may have its own idea of what is applied already.
INSERT INTO {schema}.jobplane_migrations (version, name, checksum)
SELECT *
FROM ROWS FROM (
    pg_catalog.unnest(:versions::integer[]),
    pg_catalog.unnest(:names::pg_catalog.text[]),
    pg_catalog.unnest(:checksums::pg_catalog.text[])
)
ON CONFLICT (version) DO NOTHING
