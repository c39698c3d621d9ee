-- What the control plane itself keeps. Run it once, as any migration, before the worker starts.
-- (Every role may connect to every database unless told otherwise: in production also REVOKE CONNECT ON DATABASE
-- <this one> FROM PUBLIC, so that projects cannot even look at the control plane's catalogs.)
CREATE SCHEMA IF NOT EXISTS control_plane_demo;

-- One key for each project, and only its SHA-256: whoever reads this table cannot use it to log in.
CREATE TABLE IF NOT EXISTS control_plane_demo.api_keys (
    project_id uuid PRIMARY KEY,
    sha256 bytea NOT NULL CHECK (length(sha256) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);
