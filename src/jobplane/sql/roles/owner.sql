-- The role that migrations should run as, so that what they make belongs to it: the owner of jobs, where nobody logs in as
-- that and we may act for it.
SELECT pg_get_userbyid(jobs.relowner) AS name
FROM pg_class AS jobs
JOIN pg_roles AS owner ON owner.oid = jobs.relowner
WHERE jobs.oid = to_regclass('{schema}.jobs')
    AND NOT owner.rolcanlogin
    AND owner.rolname <> current_user
    AND pg_has_role(jobs.relowner, 'MEMBER')
