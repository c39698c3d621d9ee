-- Whose jobs the rest of this transaction may see and write. With true it ends with the transaction, so nothing is left
-- on a connection that a pooler hands to the next.
SELECT pg_catalog.set_config('jobplane.tenant', :tenant::pg_catalog.text, true)
