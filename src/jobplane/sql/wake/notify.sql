-- Wake the workers of one queue, or hand them a word such as cancel:<id>. On its own it waits for no flush, having
-- written nothing; in a caller's transaction nothing here may change how that commits.
SELECT pg_catalog.pg_notify(:channel::pg_catalog.text, :word::pg_catalog.text)
