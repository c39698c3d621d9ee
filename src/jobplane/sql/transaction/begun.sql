-- Names this transaction, so that the server can be asked what became of it should the answer to its commit be lost.
-- Whoever breaks off before the commit must not keep the row locks: the server then ends the session by itself.
SELECT
    pg_catalog.pg_current_xact_id()::text AS id,
    pg_catalog.set_config('idle_in_transaction_session_timeout', '5s', true) AS patience
