-- A migration was undone.
DELETE FROM {schema}.jobplane_migrations WHERE version = :version::integer
