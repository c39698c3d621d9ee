-- The jobs that stood in the way of an insert: the same id, or an unfinished job with the same unique key. Keys are each
-- tenant's own; these are the keys of no tenant.
SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
FROM {schema}.jobs
WHERE id = ANY(:ids::uuid[])
UNION
SELECT id, type, status, scheduled_at, created_at, unique_key, tenant
FROM {schema}.jobs
WHERE unique_key = ANY(:unique_keys::text[]) AND tenant IS NULL AND status IN ('pending', 'running')
