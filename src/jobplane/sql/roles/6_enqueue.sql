-- One function, and no look at any table.
GRANT USAGE ON SCHEMA {schema} TO {enqueue};
GRANT EXECUTE ON FUNCTION {schema}.enqueue_job TO {enqueue};
