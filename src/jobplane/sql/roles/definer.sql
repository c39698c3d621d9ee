-- Whether enqueue_job works for this role: with the owner's rights, or with its own.
SELECT bool_and(
    prosecdef OR has_any_column_privilege(to_regclass('{schema}.jobs'), 'INSERT')
) AS works
FROM pg_proc
WHERE pronamespace = to_regnamespace('{schema}') AND proname = 'enqueue_job'
