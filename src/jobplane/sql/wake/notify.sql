-- Wake the workers of one queue, or hand them a word such as cancel:<id>. Nothing here is worth a WAL flush:
-- while a notifying transaction waits for one, all others that notify wait for it.
SELECT set_config('synchronous_commit', 'off', true), pg_notify(:channel::text, :word::text)
