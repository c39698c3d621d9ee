-- Write down which migrations were applied here.
INSERT INTO {schema}.jobplane_migrations (version, name, checksum)
SELECT * FROM unnest(:versions::integer[], :names::text[], :checksums::text[])
