"""Statements as files: one statement each, `load("job/claim")` reads sql/job/claim.sql.

Parameters are written `:name`. The schema is the token `{schema}`, filled here and nowhere else, after the
settings checked it. `now()` and `statement_timestamp()` may be replaced by a function of the schema, so that tests
set the time.

Other programs may store times that Python cannot represent: infinity, and years before 1 or beyond 9999. `{time x}` reads
a column as the nearest time that it can (and NULL as NULL); `{time_text x}` reads it as ISO 8601 text, for statements
that also run on callers' connections, where the session decides how a time is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final, TypeAlias
from uuid import UUID

SQLValue: TypeAlias = "bool | int | float | str | datetime | UUID | Sequence[SQLValue] | None"
_NUMBER: Final = re.compile(r"\$(\d+)")
_PARAMETER: Final = re.compile(r"(?<![:\w]):([a-z_]+)")
_NOW: Final = re.compile(r"(?:\bpg_catalog\.)?\bnow\(\)")
_TIME: Final = re.compile(r"\{(time|time_text) ([a-z_.()]+)\}")
_EARLIEST: Final = "'0001-02-01 00:00:00+00'::pg_catalog.timestamptz"
_LATEST: Final = "'9999-11-30 00:00:00+00'::pg_catalog.timestamptz"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement in the two notations that drivers take.

    Attributes:
        name: folder and file, such as job/claim.
        numbered: the text with $1, $2, ... (asyncpg).
        pyformat: the text with %(name)s (psycopg).
        parameters: the names in the order of the numbers.
    """

    name: str
    numbered: str
    pyformat: str
    parameters: tuple[str, ...]

    def positions(self, args: Mapping[str, SQLValue]) -> tuple[SQLValue, ...]:
        """The arguments in the order of the numbers. Raises KeyError for a missing one."""
        return tuple(args[name] for name in self.parameters)

    def written_out(self, args: Mapping[str, SQLValue]) -> str:
        """The statement with its arguments as literals, for scripts that someone else runs. Raises KeyError."""
        values = self.positions(args)
        return _NUMBER.sub(lambda match: literal(values[int(match[1]) - 1]), self.numbered)


@cache
def load(
    name: str, schema: str = "control_plane", clock: str = "now()", verb: str | None = None
) -> Statement:
    """The statement of sql/<name>.sql for a schema.

    Args:
        name: folder and file without the ending.
        schema: a name that jobplane.settings has checked; it is quoted here.
        clock: what to read the time from; anything but now() is for tests.
        verb: which statement it says it is, where another way to do the same has another file.
    """
    text = files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
    # The statement says which it is: to who looks at pg_stat_activity, and to the history of transitions.
    return parse(name, f"/* jobplane: {verb or name} */\n{text}", schema, clock)


def parse(name: str, text: str, schema: str, clock: str = "now()") -> Statement:
    """A statement from its text."""
    text = filled(text, schema)
    if clock != "now()":
        text = _NOW.sub(clock, text)
        text = text.replace("statement_timestamp()", clock)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("--"))
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[1] not in names:
            names.append(match[1])
        return f"${names.index(match[1]) + 1}"

    numbered = _PARAMETER.sub(number, text)
    pyformat = _PARAMETER.sub(r"%(\1)s", text.replace("%", "%%"))
    return Statement(name, numbered, pyformat, tuple(names))


def filled(text: str, schema: str) -> str:
    """The text of a statement with its tokens replaced: `{schema}`, `{time x}` and `{time_text x}`."""
    return _TIME.sub(_readable, text.replace("{schema}", quoted(schema)))


def _readable(match: re.Match[str]) -> str:
    # LEAST and GREATEST pass over a NULL, which must stay one; they compare by the type, whatever the search path.
    form, time = match[1], match[2]
    nearest = f"LEAST(GREATEST({time}, {_EARLIEST}), {_LATEST})"
    if form == "time_text":
        nearest = (
            f"""pg_catalog.to_char({nearest} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
        )
    return f"CASE WHEN {time} IS NOT NULL THEN {nearest} END"


def quoted(identifier: str) -> str:
    """An SQL identifier in double quotes."""
    return '"' + identifier.replace('"', '""') + '"'


def literal(value: SQLValue) -> str:
    """An SQL literal for a number, a text or a list of them. Raises TypeError for anything else."""
    match value:
        case bool():
            raise TypeError("nothing that scripts write is a bool")
        case int():
            return str(value)
        case str():
            return "'" + value.replace("'", "''") + "'"
        case list() | tuple():
            return f"ARRAY[{', '.join(map(literal, value))}]"
        case _:
            raise TypeError(f"a {type(value).__name__} has no literal here")


def channel(schema: str) -> str:
    """The NOTIFY channel of a schema's workers."""
    return f"jobplane_{schema}"
