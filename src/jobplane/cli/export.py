"""The migrations as other migration tools want them: pure text, nothing is read or written here.

| format  | files                                   | how a step says that it must not run in a transaction            |
|---------|-----------------------------------------|-------------------------------------------------------------------|
| plain   | none: one script for psql               | no BEGIN and COMMIT around it                                     |
| alembic | jobplane_NNN_name.py, a branch of its own | autocommit_block(), one op.execute for each statement            |
| flyway  | VNNN__jobplane_name.sql, and U for undo | VNNN__....sql.conf beside it, with executeInTransaction=false     |
| dbmate  | timestamp_jobplane_name.sql             | transaction:false, and a file for each statement, as dbmate sends a whole file at once |

Each step also writes its line into jobplane's own log, so that `jobplane migrate status` and workers see that
it ran, whoever ran it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Final

from jobplane.store.migrator import Migration, migrations, record_of, sql_of

_DBMATE_DAY: Final = "20260101"
"""dbmate orders files by a time in their names; ours is made up, but the same each time."""
_TOKEN: Final = re.compile(
    r"""(?P<quoted> --[^\n]* | /\*.*?\*/ | '(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<tag>\$\w*\$).*?(?P=tag) )
      | (?P<end> ; )""",
    re.VERBOSE | re.DOTALL,
)

# The tool's session finds names by a path of its own, which it needs again in the same transaction.
_PIN: Final = (
    "SELECT pg_catalog.set_config('jobplane.search_path', pg_catalog.current_setting('search_path'), true),\n"
    "    pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)"
)
_UNPIN: Final = (
    "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('jobplane.search_path'), true)"
)


class Format(StrEnum):
    """Who is to run the migrations."""

    PLAIN = "plain"
    ALEMBIC = "alembic"
    FLYWAY = "flyway"
    DBMATE = "dbmate"


@dataclass(frozen=True, slots=True)
class File:
    """A file to be written."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class _Step:
    """One migration, in both directions, with the line in the log that belongs to it."""

    label: str
    version: int
    up: str
    down: str
    log: str
    unlog: str
    online: bool
    online_down: bool


def script(schema: str, to: int, *, down: bool) -> str:
    """One SQL script: up to and including version `to`, or down to it."""
    steps = [_step_of(migration, schema) for migration in migrations()]
    if down:
        chosen = [step for step in reversed(steps) if step.version > to]
        parts = [_part(step, step.down, step.unlog, online=step.online_down) for step in chosen]
    else:
        chosen = [step for step in steps if step.version <= to]
        parts = [_part(step, step.up, step.log, online=step.online) for step in chosen]
    heading = (
        "-- For psql -v ON_ERROR_STOP=1 -f. Steps without BEGIN must stay outside of a transaction.\n"
        "SET search_path = pg_catalog, pg_temp;\n"
    )
    return "\n".join([heading, *parts])


def files(form: Format, schema: str, to: int) -> list[File]:
    """The files of another tool, for the versions up to and including `to`. Plain text has none."""
    steps = [_step_of(migration, schema) for migration in migrations() if migration.version <= to]
    match form:
        case Format.ALEMBIC:
            befores: list[_Step | None] = [None, *steps]
            return [_alembic(step, before) for step, before in zip(steps, befores, strict=False)]
        case Format.FLYWAY:
            return [file for step in steps for file in _flyway(step)]
        case Format.DBMATE:
            return [file for step in steps for file in _dbmate(step)]
        case Format.PLAIN:
            return []


def statements(text: str) -> list[str]:
    """SQL cut at the semicolons that end statements, each with the comments above it and without its semicolon."""
    found, start, empty = [], 0, True
    for token in _TOKEN.finditer(text):
        if token["end"] is None:
            continue
        found.append(text[start : token.start()].strip())
        start = token.end()
    rest = text[start:].strip()
    empty = not _TOKEN.sub("", rest).strip()
    return found if empty else [*found, rest]


def _step_of(migration: Migration, schema: str) -> _Step:
    online, online_down = (text.startswith("-- online") for text in (migration.up, migration.down))
    up, down = (sql_of(migration, schema, down=down).strip() for down in (False, True))
    if not (online or online_down):
        # Outside of a transaction nothing can be set for a while; such steps name nothing that could be another's.
        up, down = _pinned(up), _pinned(down)
    return _Step(
        label=f"{migration.version:03}_{migration.name}",
        version=migration.version,
        up=up,
        down=down,
        log=record_of(migration, schema),
        unlog=record_of(migration, schema, down=True),
        online=online,
        online_down=online_down,
    )


def _pinned(text: str) -> str:
    return f"{_PIN};\n\n{text}\n\n{_UNPIN};"


def _part(step: _Step, text: str, log: str, *, online: bool) -> str:
    body = text if not log else f"{text}\n\n{log};"
    heading = f"-- {step.label}\n"
    return f"{heading}{body}\n" if online else f"{heading}BEGIN;\n{body}\nCOMMIT;\n"


# -- Alembic -------------------------------------------------------------------------------------------


def _alembic(step: _Step, before: _Step | None) -> File:
    after = None if before is None else f"jobplane_{before.version:03}"
    label = None if before is not None else ("jobplane",)
    return File(
        f"jobplane_{step.label}.py",
        f'"""jobplane {step.label}, written by jobplane migrate sql."""\n\n'
        "from alembic import op\n\n"
        f"revision = {f'jobplane_{step.version:03}'!r}\n"
        f"down_revision = {after!r}\n"
        f"branch_labels = {label!r}\n"
        "depends_on = None\n\n\n"
        f"def upgrade() -> None:\n{_operations(step.up, step.log, online=step.online)}\n\n"
        f"def downgrade() -> None:\n{_operations(step.down, step.unlog, online=step.online_down)}",
    )


def _operations(text: str, log: str, *, online: bool) -> str:
    calls = [_operation(statement) for statement in [*statements(text), log] if statement]
    if not online:
        return "".join(f"    {call}\n" for call in calls)
    block = "    with op.get_context().autocommit_block():\n"
    return block + "".join(f"        {call}\n" for call in calls)


def _operation(statement: str) -> str:
    # SQLAlchemy takes :word for a parameter, unless the colon is escaped. Indented lines would change function
    # bodies, and with them nothing but the looks; a string literal keeps the text as it is.
    escaped = re.sub(r"(?<![:\w\\]):(?=\w)", r"\\:", statement)
    body = escaped.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return f'op.execute("""\n{body}\n""")'


# -- Flyway --------------------------------------------------------------------------------------------


def _flyway(step: _Step) -> Iterator[File]:
    directions: Sequence[tuple[str, str, str, bool]] = (
        ("V", step.up, step.log, step.online),
        ("U", step.down, step.unlog, step.online_down),
    )
    for letter, text, log, online in directions:
        name = f"{letter}{step.version:03}__jobplane_{step.label[4:]}.sql"
        yield File(name, f"{text}\n" if not log else f"{text}\n\n{log};\n")
        if online:
            yield File(f"{name}.conf", "executeInTransaction=false\n")


# -- dbmate --------------------------------------------------------------------------------------------


def _dbmate(step: _Step) -> Iterator[File]:
    if not (step.online or step.online_down):
        yield _dbmate_file(
            step, 0, f"{step.up}\n\n{_ended(step.log)}", f"{step.down}\n\n{_ended(step.unlog)}", ""
        )
        return
    ups, downs = statements(step.up), statements(step.down)
    # dbmate goes back file by file from the last one: the first downward statement stands in the last file.
    for number, (up, down) in enumerate(zip_longest(ups, reversed(downs), fillvalue=""), 1):
        yield _dbmate_file(step, number, _ended(up), _ended(down), " transaction:false")
    yield _dbmate_file(step, max(len(ups), len(downs)) + 1, _ended(step.log), _ended(step.unlog), "")


def _dbmate_file(step: _Step, number: int, up: str, down: str, option: str) -> File:
    suffix = f"_{number:02}" if number else ""
    return File(
        f"{_DBMATE_DAY}{step.version:03}{number:03}_jobplane_{step.label[4:]}{suffix}.sql",
        f"-- migrate:up{option}\n{up.strip() or _NOTHING}\n\n-- migrate:down{option}\n{down.strip() or _NOTHING}\n",
    )


_NOTHING: Final = "SELECT 1; -- nothing to do in this direction"


def _ended(statement: str) -> str:
    return f"{statement};" if statement else ""
