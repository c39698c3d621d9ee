-- Everyone who may read a table reads all of it again. Jobs keep their tenants, and keys stay each tenant's own.
ALTER TABLE {schema}.jobs DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {schema}.job_attempts DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
ALTER TABLE {schema}.job_events DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS own_tenant ON {schema}.job_events;
DROP POLICY IF EXISTS all_tenants ON {schema}.job_events;
DROP POLICY IF EXISTS own_tenant ON {schema}.job_attempts;
DROP POLICY IF EXISTS all_tenants ON {schema}.job_attempts;
DROP POLICY IF EXISTS own_tenant ON {schema}.jobs;
DROP POLICY IF EXISTS all_tenants ON {schema}.jobs;
