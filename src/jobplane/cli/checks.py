"""What `jobplane doctor` looks at: each check says what it found and, where something is wrong, what to do next."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from jobplane.cli.present import span
from jobplane.cli.rights import examine_rights
from jobplane.client.queue import JobQueue
from jobplane.errors import JobplaneError
from jobplane.settings import DatabaseSettings
from jobplane.store.connecting import connect, held
from jobplane.store.database import Connection
from jobplane.store.failures import sqlstate_of, translated
from jobplane.store.fit import fit_of
from jobplane.store.inspection import count_unleased, oldest_transaction
from jobplane.store.migrator import migrations
from jobplane.store.session import CLIENT_SESSION

OLDEST_SERVER: Final = 150_000
"""server_version_num."""
SKEW: Final = 2.0
"""Seconds by which this host's clock may differ from the server's."""
DEAD_AFTER: Final = 60.0
"""Seconds of silence after which a worker counts as dead."""
OLD_SNAPSHOT: Final = 300.0
"""Seconds for which a transaction may stay open without being worth a word."""
MOST_NAMES: Final = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: its name, which stays the same.
        ok: None when it could not be looked at.
        says: what was found.
        advice: what to do next; empty when all is well.
    """

    check: str
    ok: bool | None
    says: str
    advice: str = ""


_Check: TypeAlias = Callable[[DatabaseSettings, Connection], Awaitable[Finding]]


async def examine(settings: DatabaseSettings) -> list[Finding]:
    """Run all checks. What cannot be reached is a finding, not an error."""
    settings = replace(settings, patience=timedelta(0))
    try:
        async with _connected(settings) as (connection, greeting):
            findings = [greeting]
            for name, check in _SERVER.items():
                findings.append(await _guarded(name, check, settings, connection))
            usable = findings[-1].ok
            for name, check in _TABLES.items():
                skipped = Finding(name, ok=None, says="not looked at: the schema comes first")
                findings.append(await _guarded(name, check, settings, connection) if usable else skipped)
    except JobplaneError as error:
        return [Finding("connection", ok=False, says=str(error), advice=_CONNECTION_ADVICE)]
    return findings


_CONNECTION_ADVICE: Final = (
    "compare the settings above with the server's, and see that it runs and can be reached from this host"
)


@asynccontextmanager
async def _connected(settings: DatabaseSettings) -> AsyncIterator[tuple[Connection, Finding]]:
    began = time.monotonic()
    try:
        connection = await connect(settings, application_name="jobplane doctor")
    except JobplaneError:
        raise
    except Exception as error:
        raise translated(error, "connecting") from error
    took = (time.monotonic() - began) * 1000
    try:
        async with held(connection, settings, CLIENT_SESSION):
            row = await connection.fetchrow("SELECT current_user AS role, current_database() AS name")
            assert row is not None  # a SELECT without FROM has one
            greeting = Finding(
                "connection", ok=True, says=f"{row['role']} on {row['name']}, in {took:.0f} ms"
            )
            yield connection, greeting
    finally:
        await connection.close()


async def _guarded(name: str, check: _Check, settings: DatabaseSettings, connection: Connection) -> Finding:
    try:
        # One of its own, so that an error does not spoil what comes after.
        async with connection.transaction():
            return await check(settings, connection)
    except JobplaneError as error:
        return Finding(name, ok=False, says=str(error))
    except Exception as error:
        if sqlstate_of(error) is None:
            raise
        return Finding(
            name, ok=False, says=str(translated(error, name)), advice="grant the role what it lacks"
        )


# -- the server ------------------------------------------------------------------------------------------


async def _version(_settings: DatabaseSettings, connection: Connection) -> Finding:
    number = int(await connection.fetchval("SHOW server_version_num"))
    version = str(await connection.fetchval("SHOW server_version"))
    if number >= OLDEST_SERVER:
        return Finding("version", ok=True, says=f"PostgreSQL {version}")
    return Finding(
        "version", ok=False, says=f"PostgreSQL {version} is too old", advice="use PostgreSQL 15 or newer"
    )


async def _primary(_settings: DatabaseSettings, connection: Connection) -> Finding:
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        return Finding(
            "primary",
            ok=False,
            says="a standby: it can only be read",
            advice="point DATABASE_URL at the primary",
        )
    return Finding("primary", ok=True, says="can be written to")


async def _clock(_settings: DatabaseSettings, connection: Connection) -> Finding:
    before = datetime.now(UTC)
    server: datetime = await connection.fetchval("SELECT clock_timestamp()")
    after = datetime.now(UTC)
    # The server read its clock somewhere between the two: the middle is the best guess.
    skew = (server - before - (after - before) / 2).total_seconds()
    if abs(skew) <= SKEW:
        return Finding("clock", ok=True, says=f"{abs(skew):.3f} s from the server's")
    ahead = "behind" if skew > 0 else "ahead of"
    return Finding(
        "clock",
        ok=False,
        says=f"this host's clock is {abs(skew):.1f} s {ahead} the server's",
        advice="synchronise both by NTP; due times given as dates are off by this much",
    )


async def _snapshots(_settings: DatabaseSettings, connection: Connection) -> Finding:
    # What was finished since the oldest of them began cannot be vacuumed away, and claims have to step over it.
    oldest = await oldest_transaction(connection)
    seconds = float(oldest["seconds"] or 0) if oldest is not None else 0.0
    if oldest is None or seconds < OLD_SNAPSHOT:
        return Finding(
            "snapshots", ok=True, says=f"no transaction is older than {span(timedelta(seconds=OLD_SNAPSHOT))}"
        )
    name = oldest["application_name"] or "no application_name"
    if oldest["pid"] is None:
        who, advice = f"the prepared transaction {name}", "COMMIT PREPARED or ROLLBACK PREPARED"
    else:
        who = f"session {oldest['pid']} ({name}, {oldest['state']})"
        advice = (
            f"end it there, or with SELECT pg_terminate_backend({oldest['pid']}); against the next one set "
            "idle_in_transaction_session_timeout, and run long reports on a standby"
        )
    return Finding(
        "snapshots",
        ok=False,
        says=f"{who} has kept its transaction open for {span(timedelta(seconds=seconds))}: vacuum waits for it, and claims grow slow",
        advice=advice,
    )


# -- the schema --------------------------------------------------------------------------------------------


async def _rights(settings: DatabaseSettings, connection: Connection) -> Finding:
    ok, says, advice = await examine_rights(settings, connection)
    return Finding("rights", ok=ok, says=says, advice=advice)


async def _schema(settings: DatabaseSettings, _connection: Connection) -> Finding:
    # A database that this code is too old for, or that was changed by hand, is what Migrator raises.
    fit = await fit_of(settings)
    newest = migrations()[-1].version
    if fit.missing:
        found = "is not there" if len(fit.missing) == newest else f"lacks {', '.join(fit.missing)}"
        return Finding(
            "schema", ok=False, says=f"{settings.schema} {found}", advice="run jobplane migrate up"
        )
    if fit.newer:
        says = f"{settings.schema} is newer than the code, by {', '.join(fit.newer)}, and lets this code run"
        return Finding("schema", ok=True, says=says, advice="upgrade jobplane here too")
    return Finding("schema", ok=True, says=f"{settings.schema} is at version {newest}, the newest")


async def _unclaimable(settings: DatabaseSettings, _connection: Connection) -> Finding:
    async with JobQueue(settings=settings) as queue:
        found = await queue.list_unclaimable()
    if not found:
        return Finding("unclaimable", ok=True, says="every due job has a living worker that knows it")
    named = [f"{item.jobs} {item.type} on {item.queue}" for item in found]
    return Finding(
        "unclaimable",
        ok=False,
        says=f"{sum(item.jobs for item in found)} due jobs that no living worker can run: {_some(named)}",
        advice="start workers that serve these queues and know these types",
    )


async def _paused(settings: DatabaseSettings, _connection: Connection) -> Finding:
    async with JobQueue(settings=settings) as queue:
        paused = [info.name for info in await queue.list_queues() if info.paused_at is not None]
    if not paused:
        return Finding("paused", ok=True, says="no queue is paused")
    return Finding(
        "paused",
        ok=False,
        says=f"paused: {_some(paused)}",
        advice=f"when it is time: jobplane queues resume {paused[0]}",
    )


async def _workers(settings: DatabaseSettings, _connection: Connection) -> Finding:
    async with JobQueue(settings=settings) as queue:
        found = await queue.list_workers()
    dead = [worker for worker in found if worker.silent_for > DEAD_AFTER]
    if not dead:
        return Finding("workers", ok=True, says=f"{len(found)} alive")
    named = [f"{worker.id} ({span(timedelta(seconds=worker.silent_for))})" for worker in dead]
    return Finding(
        "workers",
        ok=False,
        says=f"{len(found) - len(dead)} alive; silent: {_some(named)}",
        advice="see what became of them; their jobs go to others, and they are forgotten after a day",
    )


async def _leases(settings: DatabaseSettings, connection: Connection) -> Finding:
    count = await count_unleased(connection, settings.schema)
    if not count:
        return Finding("leases", ok=True, says="every running job has a lease")
    return Finding(
        "leases",
        ok=False,
        says=f"{count} running jobs have no lease: another program, or an adopted table, left them so",
        advice="nothing will take them back: once you know that they do not run, set their status to pending in SQL",
    )


_SERVER: Final[Mapping[str, _Check]] = {
    "version": _version,
    "primary": _primary,
    "clock": _clock,
    "snapshots": _snapshots,
    "rights": _rights,
    "schema": _schema,
}
_TABLES: Final[Mapping[str, _Check]] = {
    "unclaimable": _unclaimable,
    "paused": _paused,
    "workers": _workers,
    "leases": _leases,
}
NAMES: Final = ("connection", *_SERVER, *_TABLES)
"""All checks, in their order."""


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more
