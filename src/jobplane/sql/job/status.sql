-- What wait() looks at: small, and by the key.
SELECT status FROM {schema}.jobs WHERE id = :id::uuid
