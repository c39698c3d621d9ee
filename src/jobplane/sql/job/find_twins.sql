-- The jobs that stood in the way of an insert: the same id, or an unfinished job of the same tenant with the same unique
-- key. Tenants in two parts, because an index is asked for a value or for none, never for either.
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
