DROP TRIGGER keep_epochs_of_all ON {schema}.jobs;
DROP TRIGGER keep_epochs ON {schema}.jobs;
DROP FUNCTION {schema}.keep_epochs();
DROP TABLE {schema}.epochs;
