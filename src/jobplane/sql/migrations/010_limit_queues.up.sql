-- How many jobs of a queue may run at once, over all workers. NULL: no limit but the workers' own slots.
-- With 1 the queue is an ordering key: one job at a time, in strict order. A worker of an older version does not know
-- of limits: upgrade all workers before the first one is set.
ALTER TABLE {schema}.queues ADD COLUMN max_running integer CHECK (max_running >= 1);
