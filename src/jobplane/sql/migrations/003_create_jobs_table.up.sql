-- The jobs table of the contract, to the letter: eleven columns, three indexes.
-- A table that another program made from the same contract is kept as it is and adopted by the next steps.
CREATE TABLE IF NOT EXISTS {schema}.jobs (
    id UUID PRIMARY KEY,
    type TEXT NOT NULL,
    payload JSONB DEFAULT '{}',
    status TEXT DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'completed', 'failed', 'cancelled')),
    attempts INTEGER DEFAULT 0 CHECK (attempts >= 0),
    max_attempts INTEGER DEFAULT 3 CHECK (max_attempts > 0),
    last_error TEXT,
    scheduled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS idx_jobs_status ON {schema}.jobs (status);
CREATE INDEX IF NOT EXISTS idx_jobs_scheduled_at ON {schema}.jobs (scheduled_at);
CREATE INDEX IF NOT EXISTS idx_jobs_status_scheduled_at ON {schema}.jobs (status, scheduled_at);
