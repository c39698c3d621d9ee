-- Of these roles those that exist, with who is a member.
SELECT role.rolname AS name, ARRAY(
    SELECT member.rolname
    FROM pg_auth_members AS m
    JOIN pg_roles AS member ON member.oid = m.member
    WHERE m.roleid = role.oid
    GROUP BY member.rolname
    ORDER BY member.rolname
)::text[] AS members
FROM pg_roles AS role
WHERE role.rolname = ANY (:names::text[])
