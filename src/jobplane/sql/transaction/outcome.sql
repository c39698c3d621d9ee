-- What became of a transaction: committed, aborted, or in progress. Where it was committed without having waited for a
-- synchronous standby, this waits instead: it writes to the log, as in job/find_twins.
WITH confirmed AS MATERIALIZED (
    SELECT CASE
        WHEN current_setting('synchronous_standby_names') <> '' THEN pg_logical_emit_message(true, 'jobplane', '')
    END AS lsn
)
SELECT pg_catalog.pg_xact_status(:id::text::xid8) AS outcome
FROM confirmed
