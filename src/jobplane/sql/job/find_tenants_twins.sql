-- As job/find_twins, for jobs of tenants among others. Two parts, because an index is asked for a value or for none,
-- never for either; and not whoever holds the key, who may be thousands.
SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
FROM {schema}.jobs
WHERE id = ANY(:ids::uuid[])
UNION
SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
FROM {schema}.jobs
WHERE unique_key = ANY(:unique_keys::text[]) AND tenant IS NULL AND status IN ('pending', 'running')
UNION
SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
FROM {schema}.jobs
WHERE unique_key = ANY(:unique_keys::text[]) AND tenant = ANY(:tenants::text[]) AND status IN ('pending', 'running')
