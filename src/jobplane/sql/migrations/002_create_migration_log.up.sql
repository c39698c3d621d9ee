-- Which migrations ran here, from which text, and when. The name leaves room for another tool's log.
CREATE TABLE IF NOT EXISTS {schema}.jobplane_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
