-- The schema that holds everything of jobplane's. Left in place when it exists.
CREATE SCHEMA IF NOT EXISTS {schema};
