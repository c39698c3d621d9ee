-- The tables of jobs, whether they have row security, and which roles see all tenants.
SELECT
    c.relname::text AS name,
    c.relrowsecurity AS enabled,
    c.relforcerowsecurity AS forced,
    ARRAY(
        SELECT pg_get_userbyid(role)::text
        FROM pg_policy AS p
        CROSS JOIN LATERAL unnest(p.polroles) AS role
        WHERE p.polrelid = c.oid AND p.polname = 'all_tenants'
        ORDER BY 1
    ) AS exempt
FROM pg_class AS c
WHERE c.relnamespace = to_regnamespace('{schema}') AND c.relname IN ('jobs', 'job_attempts', 'job_events')
ORDER BY c.relname DESC
