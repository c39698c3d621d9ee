-- Epochs never repeat for an id, also where the id comes back: an idempotency key after pruning, a chosen id, a row that
-- was deleted by hand. The first claim of a job counts on from the highest epoch of any job that was ever deleted, so an
-- outcome of the id's earlier life, however late, finds no claim of its own.
CREATE TABLE {schema}.epochs (
    -- one row: a key that can hold one value
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    -- the highest lease_epoch of any deleted job
    spent bigint NOT NULL
);

-- Where workers have run, jobs may have been deleted whose epochs nobody kept. The seconds since 1970 are beyond any
-- epoch: no job is claimed once a second for decades. They are also beyond what an earlier up and down of this left.
INSERT INTO {schema}.epochs (spent)
SELECT CASE
    WHEN EXISTS (SELECT FROM {schema}.duties WHERE last_run_at IS NOT NULL)
        OR EXISTS (SELECT FROM {schema}.workers)
        OR EXISTS (SELECT FROM {schema}.jobs WHERE lease_epoch > 0)
    THEN extract(epoch FROM clock_timestamp())::bigint
    ELSE 0
END;

-- Roles that may claim jobs already have to read this too: workers must not stand still until somebody applies the roles
-- once more.
DO $$
DECLARE
    claimer record;
BEGIN
    FOR claimer IN
        SELECT DISTINCT acl.grantee::regrole AS name
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'lease_epoch'
        CROSS JOIN LATERAL (
            SELECT grantee, privilege_type FROM aclexplode(c.relacl)
            UNION ALL
            SELECT grantee, privilege_type FROM aclexplode(a.attacl)
        ) AS acl
        WHERE c.oid = '{schema}.jobs'::regclass AND acl.privilege_type = 'UPDATE' AND acl.grantee NOT IN (0, c.relowner)
    LOOP
        EXECUTE format('GRANT SELECT ON {schema}.epochs TO %s', claimer.name);
    END LOOP;
END $$;

-- Whoever may delete jobs need not be allowed to write here. Only a delete that goes beyond what is kept takes the row's
-- lock, which is about once for each time that the oldest jobs are pruned.
CREATE FUNCTION {schema}.keep_epochs() RETURNS trigger
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    highest bigint;
BEGIN
    IF TG_OP = 'DELETE' THEN
        SELECT max(lease_epoch) INTO highest FROM deleted;
    ELSE
        SELECT max(lease_epoch) INTO highest FROM {schema}.jobs;
    END IF;
    IF highest > COALESCE((SELECT spent FROM {schema}.epochs WHERE only_row), 0) THEN
        -- An insert, since the row may have been emptied away with the jobs.
        INSERT INTO {schema}.epochs AS e (spent) VALUES (highest)
        ON CONFLICT (only_row) DO UPDATE SET spent = GREATEST(e.spent, EXCLUDED.spent);
    END IF;
    RETURN NULL;
END $$;
-- Firing a trigger takes no right to its function; making one does, and on a table of their own, with rows to their
-- taste, anyone could use up all epochs.
REVOKE ALL ON FUNCTION {schema}.keep_epochs() FROM PUBLIC;

CREATE TRIGGER keep_epochs AFTER DELETE ON {schema}.jobs
    REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.keep_epochs();
-- Before, because afterwards nobody knows what there was.
CREATE TRIGGER keep_epochs_of_all BEFORE TRUNCATE ON {schema}.jobs
    FOR EACH STATEMENT EXECUTE FUNCTION {schema}.keep_epochs();
