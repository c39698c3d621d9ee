-- Which of these jobs someone wants cancelled.
SELECT id FROM {schema}.jobs WHERE id = ANY (:ids::uuid[]) AND cancel_requested_at IS NOT NULL
