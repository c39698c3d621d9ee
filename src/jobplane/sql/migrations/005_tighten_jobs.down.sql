-- The four columns as the contract has them: nullable.
ALTER TABLE {schema}.jobs
    ALTER COLUMN payload DROP NOT NULL,
    ALTER COLUMN status DROP NOT NULL,
    ALTER COLUMN attempts DROP NOT NULL,
    ALTER COLUMN max_attempts DROP NOT NULL;
