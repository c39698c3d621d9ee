DROP TABLE IF EXISTS {schema}.jobplane_migrations;
