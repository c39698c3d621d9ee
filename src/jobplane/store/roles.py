"""Sets up the database roles: the scripts of sql/roles, rendered for a schema and a prefix, in one transaction."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Final

from jobplane.errors import ConfigurationError, SchemaError, shown
from jobplane.settings import DatabaseSettings
from jobplane.sql import filled, load, quoted
from jobplane.store.database import Connection
from jobplane.store.rights import ROLES, Right, parameters_of, rights, script_files
from jobplane.store.script import connected, run

PREFIX: Final = "jobplane_"
_PREFIX: Final = re.compile(r"[a-z_][a-z0-9_]{0,39}")
TABLES: Final = (
    "jobs",
    "job_attempts",
    "job_events",
    "queues",
    "workers",
    "duties",
    "epochs",
    "schedules",
    "schedule_ticks",
    "jobplane_migrations",
    "job_overview",
)
"""What the owner owns; a schema may hold tables of others."""
FUNCTIONS: Final = (
    "cancel_job",
    "enqueue_job",
    "in_tenant",
    "keep_epochs",
    "make_ticks",
    "new_job_id",
    "prune_events",
    "prune_jobs",
    "prune_ticks",
    "record_job_event",
    "retry_job",
    "take_priority_from_payload",
)
_OWNERS: Final = {
    "cancel_job": "job/cancel",
    "retry_job": "job/retry",
    "make_ticks": "schedule/tick",
    "prune_jobs": "job/prune",
    "prune_events": "history/prune",
    "prune_ticks": "schedule/prune",
}
"""Functions of the owner, and the statement that each is."""


@dataclass(frozen=True, slots=True)
class RoleStatus:
    """One of the roles, as the database has it.

    Attributes:
        purpose: owner, migrator, enqueue, worker, api or viewer.
        name: the role's own name.
        exists: whether it is there.
        members: who may act for it.
        lacks: rights that it should have and has not.
    """

    purpose: str
    name: str
    exists: bool
    members: tuple[str, ...]
    lacks: tuple[Right, ...]


def check_prefix(prefix: str) -> str:
    """What the names of the roles begin with. Raises ConfigurationError."""
    if not _PREFIX.fullmatch(prefix):
        raise ConfigurationError(f"prefix must match [a-z_][a-z0-9_]{{0,39}}; got {shown(prefix)}")
    return prefix


def names(prefix: str) -> dict[str, str]:
    """The name of the role for each purpose."""
    return {purpose: f"{check_prefix(prefix)}{purpose}" for purpose in ROLES}


def script(schema: str, prefix: str = PREFIX) -> str:
    """All that `apply` runs, as SQL."""
    return "\n".join(rendered(text, schema, prefix).rstrip() + "\n" for text in script_files().values())


def rendered(text: str, schema: str, prefix: str) -> str:
    """A script of sql/roles for a schema and a prefix."""
    roles = names(prefix)
    tokens = {
        **{purpose: quoted(name) for purpose, name in roles.items()},
        **{name: _body(statement, name, schema) for name, statement in _OWNERS.items()},
        "schema": quoted(schema),
        "owner_name": roles["owner"],
        "worker_name": roles["worker"],
        "names": _literals(roles.values()),
        "tables": _literals(TABLES),
        "functions": _literals(FUNCTIONS),
    }
    return re.sub(r"\{(\w+)\}", lambda token: tokens[token[1]], text)


async def apply(settings: DatabaseSettings, prefix: str = PREFIX) -> None:
    """Make the roles, and give each its rights and no others. Doing it again changes nothing.

    Raises:
        SchemaError: there are no tables yet.
        StatementError: whoever is connected may not do this: it takes a superuser, or the tables' owner with CREATEROLE.
    """
    text = script(settings.schema, prefix)
    async with connected(settings, "roles") as connection:
        await must_be_migrated(connection, settings.schema)
        await run(connection, "roles", text)


async def must_be_migrated(connection: Connection, schema: str) -> None:
    """Raises SchemaError where there is nothing to have rights on."""
    if await connection.fetchval("SELECT to_regclass($1)", f"{quoted(schema)}.job_overview") is None:
        raise SchemaError(f"the schema {schema} has not the tables of this version: run jobplane migrate up")


async def status(settings: DatabaseSettings, prefix: str = PREFIX) -> list[RoleStatus]:
    """Each role as the database has it."""
    wanted = names(prefix)
    known = load("roles/known", settings.schema)
    async with connected(settings, "roles") as connection:
        await must_be_migrated(connection, settings.schema)
        rows = await connection.fetch(known.numbered, list(wanted.values()))
        members = {row["name"]: tuple(row["members"]) for row in rows}
        return [
            RoleStatus(
                purpose,
                name,
                name in members,
                members.get(name, ()),
                tuple(await lacking(connection, settings.schema, name, purpose)) if name in members else (),
            )
            for purpose, name in wanted.items()
        ]


async def lacking(connection: Connection, schema: str, role: str, purpose: str) -> list[Right]:
    """Of the rights for a purpose those that a role has not."""
    wishes: Sequence[Right] = rights().get(purpose, ())
    statement = load("roles/lacking", schema)
    rows = await connection.fetch(statement.numbered, *statement.positions(parameters_of(wishes, role)))
    return [wishes[row["number"] - 1] for row in rows]


async def abilities(connection: Connection, schema: str) -> dict[str, list[Right]] | None:
    """What the role that is logged in lacks for each purpose; None where there are no tables yet."""
    if await connection.fetchval("SELECT to_regclass($1)", f"{quoted(schema)}.job_overview") is None:
        return None
    role = str(await connection.fetchval("SELECT current_user"))
    lacks = {purpose: await lacking(connection, schema, role, purpose) for purpose in rights()}
    if not await connection.fetchval(load("roles/definer", schema).numbered):
        lacks["enqueue"].append(Right("SECURITY DEFINER", "FUNCTION", "enqueue_job"))
    return lacks


def _body(statement: str, function: str, schema: str) -> str:
    # The statement itself stands in one file; in the function its parameters are the function's.
    text = files("jobplane.sql").joinpath(f"{statement}.sql").read_text(encoding="utf-8")
    lines = [line for line in text.rstrip().splitlines() if not line.lstrip().startswith("--")]
    body = re.sub(r"(?<![:\w]):([a-z_]+)", rf"{function}.\1", "\n".join(f"    {line}" for line in lines))
    return filled(body, schema)


def _literals(words: Iterable[str]) -> str:
    # Checked names, or our own: none holds a quote.
    return ", ".join(f"'{word}'" for word in words)
