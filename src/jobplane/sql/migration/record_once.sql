-- The same for scripts that another tool runs: it may have its own idea of what is applied already.
INSERT INTO {schema}.jobplane_migrations (version, name, checksum)
SELECT * FROM unnest(:versions::integer[], :names::text[], :checksums::text[])
ON CONFLICT (version) DO NOTHING
