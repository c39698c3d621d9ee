-- Of the wishes those that a role has not, by their numbers. What does not exist is a right that nobody has.
SELECT wish.number::integer AS number
FROM unnest(:kinds::text[], :objects::text[], :columns::text[], :privileges::text[])
    WITH ORDINALITY AS wish (kind, object, column_name, privilege, number)
WHERE CASE
        WHEN wish.kind = 'SCHEMA' THEN has_schema_privilege(:role::text, to_regnamespace('{schema}'), wish.privilege)
        WHEN wish.kind = 'FUNCTION' THEN (
            -- A function of the owner's that nobody made is missed by nobody who may change the jobs without it.
            SELECT COALESCE(
                bool_and(has_function_privilege(:role::text, oid, wish.privilege)),
                has_table_privilege(:role::text, to_regclass('{schema}.jobs'), 'UPDATE')
                    AND has_table_privilege(:role::text, to_regclass('{schema}.jobs'), 'DELETE')
            )
            FROM pg_proc
            WHERE pronamespace = to_regnamespace('{schema}') AND proname = wish.object
        )
        WHEN wish.column_name IS NULL THEN
            has_table_privilege(:role::text, to_regclass('{schema}.' || quote_ident(wish.object)), wish.privilege)
        ELSE (
            SELECT has_column_privilege(:role::text, attrelid, attnum, wish.privilege)
            FROM pg_attribute
            WHERE attrelid = to_regclass('{schema}.' || quote_ident(wish.object)) AND attname = wish.column_name
        )
    END IS NOT TRUE
ORDER BY wish.number
