DROP FUNCTION IF EXISTS {schema}.enqueue_job(text, jsonb, interval, integer, integer, text, timestamptz, text, boolean);
