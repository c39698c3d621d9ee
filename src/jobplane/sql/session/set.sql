-- Set up a session, or one transaction. Runs before the search path is ours, so every name and operator is PostgreSQL's
-- own. Only what differs is changed, so that a role is not asked to set what is right already. A setting that the server
-- does not know reads as NULL, and is passed over.
SELECT pg_catalog.count(pg_catalog.set_config(s.name, s.value, :is_local::pg_catalog.text::pg_catalog.bool))
FROM ROWS FROM (
    pg_catalog.unnest(:names::pg_catalog.text[]),
    pg_catalog.unnest(:values::pg_catalog.text[]),
    -- Not empty: change the setting only from this one value; all others are an operator's to choose.
    pg_catalog.unnest(:instead_of::pg_catalog.text[])
) AS s (name, value, instead_of)
WHERE pg_catalog.current_setting(s.name, true) OPERATOR(pg_catalog.<>) s.value
    AND (
        s.instead_of OPERATOR(pg_catalog.=) ''
        OR pg_catalog.current_setting(s.name, true) OPERATOR(pg_catalog.=) s.instead_of
    )
    -- The only one that takes a right of its own.
    AND (
        s.name OPERATOR(pg_catalog.<>) 'session_replication_role'
        OR pg_catalog.has_parameter_privilege('session_replication_role', 'SET')
    )
