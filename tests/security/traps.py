"""A schema of someone who may create objects there, full of what might be taken for PostgreSQL's own or ours.

Everything in it notes that it was used, in evil.caught. Where a note cannot be written, or the type of an answer does
not fit, the statement fails: that shows too.
"""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import jobplane
import jobplane.sql
from tests.factories import SQL

PATH: Final = "evil, pg_catalog, public"
"""The worst case: in front even of pg_catalog, where also an exact match of PostgreSQL's own is not found."""
BEHIND_THE_CATALOGUE: Final = "evil, public"
"""The usual case: what has no exact match in pg_catalog is looked for here."""
OPERATORS: Final = (
    "=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "||", "->", "->>", "?", "@>", "&&", "~", "!~", "~~", "!~~",
)  # fmt: skip
TYPES: Final = (
    "text", "name", '"char"', "int2", "int4", "int8", "float8", "numeric", "timestamptz", "timestamp", "date", "interval",
    "bool", "uuid", "jsonb", "oid", "regclass", "text[]", "uuid[]", "int2[]",
)  # fmt: skip
"""Every type that occurs in our statements, the catalogue's columns included."""
CATALOGUE: Final = (
    "pg_class", "pg_proc", "pg_roles", "pg_namespace", "pg_trigger", "pg_attribute", "pg_constraint", "pg_index",
    "pg_policy", "pg_auth_members", "pg_stat_activity", "pg_prepared_xacts", "pg_database",
)  # fmt: skip
_CALL: Final = re.compile(r"(?<![.\w])([a-z_][a-z0-9_]*)\(")

_NOTE: Final = """
CREATE SCHEMA evil;
GRANT USAGE, CREATE ON SCHEMA evil TO PUBLIC;
CREATE TABLE evil.caught (what pg_catalog.text, by pg_catalog.name DEFAULT current_user, statement pg_catalog.text);
GRANT INSERT ON evil.caught TO PUBLIC;
CREATE FUNCTION evil.note(what pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog AS $note$
BEGIN
    INSERT INTO evil.caught (what, by, statement) VALUES (what, session_user, left(current_query(), 100));
    RETURN true;
END $note$;
"""
_OPERATORS: Final = """
DO $make$
DECLARE
    types pg_catalog.text[] := $types;
    symbols pg_catalog.text[] := $symbols;
    l pg_catalog.text;
    r pg_catalog.text;
    symbol pg_catalog.text;
    number integer := 0;
BEGIN
    FOREACH l IN ARRAY types LOOP
        FOREACH r IN ARRAY types LOOP
            number := number + 1;
            EXECUTE format(
                'CREATE FUNCTION evil.operator_%s(pg_catalog.%s, pg_catalog.%s) RETURNS pg_catalog.bool LANGUAGE plpgsql '
                'SET search_path = pg_catalog AS $f$ BEGIN RETURN evil.note(%L); END $f$', number, l, r,
                format('an operator of %s and %s', l, r)
            );
            FOREACH symbol IN ARRAY symbols LOOP
                EXECUTE format(
                    'CREATE OPERATOR evil.%s (LEFTARG = pg_catalog.%s, RIGHTARG = pg_catalog.%s, FUNCTION = evil.operator_%s)',
                    symbol, l, r, number
                );
            END LOOP;
        END LOOP;
    END LOOP;
END $make$
"""
# The same signatures as PostgreSQL's; where it takes any type, one for each type: a better match than its own.
_FUNCTIONS: Final = """
DO $make$
DECLARE
    types pg_catalog.text[] := $types;
    names pg_catalog.text[] := $names;
    p record;
    element pg_catalog.text;
    arguments pg_catalog.text;
BEGIN
    FOR p IN
        SELECT proname, array(SELECT format_type(a, NULL) FROM unnest(proargtypes) AS a) AS args
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname = ANY (names) AND provariadic = 0
    LOOP
        FOREACH element IN ARRAY types LOOP
            arguments := (
                SELECT string_agg(CASE
                    WHEN a ~ 'array|range' THEN CASE WHEN element ~ '\\[' THEN element ELSE element || '[]' END
                    WHEN a ~ '^"any"|^any' THEN element
                    ELSE a
                END, ', ')
                FROM unnest(p.args) AS a
            );
            BEGIN
                EXECUTE format(
                    'CREATE FUNCTION evil.%I(%s) RETURNS bool LANGUAGE plpgsql SET search_path = pg_catalog '
                    'AS $f$ BEGIN RETURN evil.note(%L); END $f$', p.proname, COALESCE(arguments, ''), p.proname
                );
            EXCEPTION WHEN duplicate_function OR invalid_function_definition OR undefined_object THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
END $make$
"""
_COLUMNS: Final = """
SELECT string_agg(quote_ident(a.attname), ', ')
FROM pg_attribute AS a
JOIN pg_type AS t ON t.oid = a.atttypid
WHERE a.attrelid = $1::text::regclass AND a.attnum > 0 AND t.typtype <> 'p'
"""
"""A view may not have columns of pseudo-types."""
_NAMED: Final = (
    "CREATE FUNCTION evil.make_interval(secs pg_catalog.float8) RETURNS pg_catalog.interval LANGUAGE plpgsql "
    "SET search_path = pg_catalog AS $f$ BEGIN PERFORM evil.note('make_interval'); RETURN interval '1 s'; END $f$"
)


def called() -> set[str]:
    """The name of every function that our SQL calls without a schema: the statements, and what the code holds."""
    texts = [
        file.read_text("utf-8")
        for folder in files(jobplane.sql).iterdir()
        if folder.is_dir()
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
    texts += [path.read_text("utf-8") for path in Path(jobplane.__file__).parent.rglob("*.py")]
    return {name for text in texts for name in _CALL.findall(text)}


async def set_traps(sql: SQL) -> None:
    """Fill the database with them. Takes a superuser, and a session whose path does not lead there."""
    types, symbols = _array(TYPES), _array(OPERATORS)
    await sql.execute(_NOTE)
    await sql.execute(_OPERATORS.replace("$types", types).replace("$symbols", symbols))
    await sql.execute(_FUNCTIONS.replace("$types", types).replace("$names", _array(sorted(called()))))
    await sql.execute(_NAMED)
    for relation in CATALOGUE:
        columns = await sql.fetchval(_COLUMNS, f"pg_catalog.{relation}")
        await sql.execute(
            f"CREATE VIEW evil.{relation} AS SELECT {columns} FROM pg_catalog.{relation} WHERE evil.note('{relation}')"
        )
        await sql.execute(f"GRANT SELECT ON evil.{relation} TO PUBLIC")
    for name in ("text", "uuid", "jsonb", "float8", "timestamptz", "regclass", "oid", "name"):
        await sql.execute(
            f"CREATE DOMAIN evil.{name} AS pg_catalog.{name} CHECK (evil.note('the type {name}'))"
        )


async def caught(sql: SQL) -> list[str]:
    """What was used, by whom and where."""
    rows = await sql.fetch("SELECT DISTINCT what, by, statement FROM evil.caught")
    return sorted(f"{row['what']} by {row['by']} in {row['statement']}" for row in rows)


def _array(words: tuple[str, ...] | list[str]) -> str:
    return "ARRAY[" + ", ".join("'" + word.replace("'", "''") + "'" for word in words) + "]"
