-- Running jobs that no lease will ever give back: another program, or an adopted table, left them so.
SELECT count(*) AS jobs FROM {schema}.jobs WHERE status = 'running' AND lease_expires_at IS NULL
