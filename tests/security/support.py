"""What the security tests share: what a database holds, and names that someone might try."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from hypothesis import HealthCheck, settings

from tests.factories import SQL
from tests.support import LONG, SLACK

_CATALOGUE: Final = """
    SELECT 'relation ' || oid::regclass FROM pg_class WHERE relnamespace::regnamespace::text !~ '^pg_(temp|toast)'
    UNION ALL SELECT 'function ' || oid::regprocedure FROM pg_proc
    UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname !~ '^pg_(temp|toast)'
    UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname::text = ANY ($1)
    UNION ALL SELECT 'role here ' || refobjid::regrole FROM pg_shdepend
        WHERE refclassid = 'pg_authid'::regclass AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger
    UNION ALL SELECT 'operator ' || oid::regoperator FROM pg_operator WHERE oid >= 16384
"""

HOSTILE: Final = (
    '";--', "'; DROP TABLE control_plane.jobs; --", '"; DROP TABLE control_plane.jobs; --', "$$", "$$; SELECT 1; $$",
    "$1", "%s", "%(name)s", "%", "{schema}", "{0}", "{}", ":name", ":id::uuid", '"', "'", "''", '""', "\\", "\\'", "`id`",
    "$(id)", ";", "--", "/*", "*/", "*", "", " ", " default", "default ", "a b", "a.b", "a,b", "a:b", "a;b:3", "a/b",
    "../../etc/passwd", "\x00", "a\x00b", "\n", "default\n", "a\r\nb", "a\tb", "\x1b[31mred", "\x7f", "\x85", "\u2028",
    "\u202eevil", "a\u200bb", "\ufeffa", "\ud800", "x\udfff", "j\u043ebs", "\uff4aobs", "d\u0435fault", "\u0131", "\xdf", "\xe9", "e\u0301",
    "\N{COLLISION SYMBOL}", "x" * 64, "x" * 101, "x" * 256, "x" * 100_000, "pg_catalog", "public", "jobs", "JOBS", "select",
    "NULL", "None", "true", "0", "-1", "NaN", "1e9", "-", "_", "--database-url=x", "U&\\0061", "E'\\047'",
    "x' OR '1'='1", 'x" OR "1"="1', "x'); SELECT pg_sleep(60); --", "cancel:x", "<script>", "@file", "~", "?", "#",
)  # fmt: skip
"""Names that broke someone, somewhere: quotes, dollars, formats, controls, look-alikes, lengths, words."""


async def catalogue(sql: SQL) -> list[str]:
    """All relations, functions, schemas and triggers of the database, and of the server's roles what may be this test's
    doing: those that have a hostile name, or own something here, or may do something here. Neighbours make roles too.
    """
    names = [name for name in HOSTILE if name.isprintable()]
    return sorted(row[0] for row in await sql.fetch(_CATALOGUE, names))


def examples(short: int, long: int) -> settings:
    """How many inputs a property is tried with. A slow one is a finding, so each has a second (and some slack)."""
    return settings(
        max_examples=long if LONG else short,
        deadline=timedelta(seconds=1) * SLACK,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
        ],
    )
