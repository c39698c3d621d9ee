-- This worker has stopped in order.
DELETE FROM {schema}.workers WHERE id = :id::text
