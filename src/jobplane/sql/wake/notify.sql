-- Wake the workers of one queue, or hand them a word such as cancel:<id>.
SELECT pg_notify(:channel::text, :word::text)
