-- Row security: who is neither the owner nor a worker sees and writes the rows of the tenant that their transaction named
-- with set_config('jobplane.tenant', .., true), and without one nothing. Told by membership of a role, not BYPASSRLS, which
-- would hold in every database of the server. FORCE, because the owner would else be exempt in silence.
{drop}
CREATE POLICY all_tenants ON {schema}.jobs TO {owner}, {worker} USING (true) WITH CHECK (true);
-- A subselect is asked once for a statement, not once for a row. '' is what an unset setting reads as, once some
-- transaction of the session had it.
CREATE POLICY own_tenant ON {schema}.jobs
    USING (tenant = (SELECT NULLIF(current_setting('jobplane.tenant', true), '')))
    WITH CHECK (tenant = (SELECT NULLIF(current_setting('jobplane.tenant', true), '')));
ALTER TABLE {schema}.jobs ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

-- Whose attempts and history these are says the job, which is looked up under its own policy.
CREATE POLICY all_tenants ON {schema}.job_attempts TO {owner}, {worker} USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON {schema}.job_attempts
    USING (EXISTS (SELECT FROM {schema}.jobs AS job WHERE job.id = job_id));
ALTER TABLE {schema}.job_attempts ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE POLICY all_tenants ON {schema}.job_events TO {owner}, {worker} USING (true) WITH CHECK (true);
CREATE POLICY own_tenant ON {schema}.job_events
    USING (EXISTS (SELECT FROM {schema}.jobs AS job WHERE job.id = job_id));
ALTER TABLE {schema}.job_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
