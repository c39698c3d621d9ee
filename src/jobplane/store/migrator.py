"""Applies the numbered files of sql/migrations in order, each once, whoever else does the same at the time.

A file is one transaction, recorded with its checksum in it. A file whose first line says `-- online` is run
statement by statement outside of a transaction (CREATE INDEX CONCURRENTLY) and is written to be repeatable.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import Final, TypeVar

import asyncpg

from jobplane.errors import MigrationError
from jobplane.settings import DatabaseSettings
from jobplane.sql import SQLValue, channel, load, quoted
from jobplane.store.connecting import connect, held
from jobplane.store.failures import Reaction, may_have_been_done, reaction_to, translated
from jobplane.store.locks import BROKEN, taking_locks
from jobplane.store.online import running_online, statements_of
from jobplane.store.pooler import must_pass_pooler, past_pooler
from jobplane.store.script import act_as_owner
from jobplane.store.session import OPERATOR_SESSION

T = TypeVar("T")
_FILE: Final = re.compile(r"(\d{3})_(\w+)\.up\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step: `up` and `down` still hold the {schema} token."""

    version: int
    name: str
    up: str
    down: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the upward text."""
        return hashlib.sha256(self.up.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A migration and when it was applied here; None where it was not."""

    version: int
    name: str
    applied_at: datetime | None


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations, in order."""
    folder = files("jobplane.sql").joinpath("migrations")
    found = []
    for entry in folder.iterdir():
        if match := _FILE.fullmatch(entry.name):
            down = folder.joinpath(entry.name.replace(".up.", ".down."))
            found.append(
                Migration(
                    int(match[1]),
                    match[2],
                    entry.read_text(encoding="utf-8"),
                    down.read_text(encoding="utf-8"),
                )
            )
    return tuple(sorted(found, key=lambda migration: migration.version))


def sql_of(migration: Migration, schema: str, *, down: bool = False) -> str:
    """The text of a migration for a schema, as another migration tool may run it."""
    text = migration.down if down else migration.up
    return text.replace("{schema}", quoted(schema)).replace("{channel}", channel(schema))


def record_of(migration: Migration, schema: str, *, down: bool = False) -> str:
    """The line of a migration in the log, or its removal, as text; empty where there is no log at that point."""
    if down:
        forget = load("migration/forget", schema)
        return forget.written_out({"version": migration.version}) if migration.version > 2 else ""
    rows = _recorded_with(migration)
    return load("migration/record_once", schema).written_out(_lines(rows)) if rows else ""


class Migrator:
    """Brings one database to a version of the schema."""

    def __init__(self, settings: DatabaseSettings) -> None:
        self._settings = settings
        self._schema = settings.schema
        self._log = f"{quoted(settings.schema)}.jobplane_migrations"

    async def status(self) -> list[MigrationStatus]:
        """Each known migration and when it was applied. Raises MigrationError as `up` does."""
        async with self._connection() as connection:
            applied = await self._applied(connection)
            return [MigrationStatus(m.version, m.name, applied.get(m.version)) for m in migrations()]

    async def log(self) -> tuple[list[tuple[int, str]], str]:
        """Version and name of each applied migration, and the comment on the log. Raises MigrationError if one was edited."""
        async with self._connection() as connection:
            rows = await self._log_of(connection)
            _check_unedited(rows)
            comment = await connection.fetchval(
                "SELECT obj_description(to_regclass($1), 'pg_class')", self._log
            )
            return [(row["version"], row["name"]) for row in rows], comment or ""

    async def up(self, to: int | None = None) -> list[Migration]:
        """Apply what is missing, up to and including version `to`; returns what was applied.

        Raises:
            MigrationError: an applied file was edited, or the database is newer than this code.
            ConfigurationError: only a pooler in transaction mode is known.
        """
        must_pass_pooler(self._settings, "a migration")
        done = []
        async with self._connection() as connection, self._alone(connection):
            applied = await self._applied(connection)
            for migration in migrations():
                if migration.version in applied or (to is not None and migration.version > to):
                    continue
                await self._apply(connection, migration)
                done.append(migration)
        return done

    async def down(self, to: int) -> list[Migration]:
        """Undo applied migrations above version `to`, newest first. Going below 3 deletes all jobs."""
        must_pass_pooler(self._settings, "a migration")
        done = []
        async with self._connection() as connection, self._alone(connection):
            applied = await self._applied(connection)
            for migration in reversed(migrations()):
                if migration.version in applied and migration.version > to:
                    await self._undo(connection, migration)
                    done.append(migration)
        return done

    async def _apply(self, connection: asyncpg.Connection[asyncpg.Record], migration: Migration) -> None:
        async def record() -> None:
            if rows := _recorded_with(migration):
                statement = load("migration/record", self._schema)
                await connection.execute(statement.numbered, *statement.positions(_lines(rows)))

        await self._run(connection, migration, sql_of(migration, self._schema), record)

    async def _undo(self, connection: asyncpg.Connection[asyncpg.Record], migration: Migration) -> None:
        async def record() -> None:
            if migration.version > 2:
                await connection.execute(load("migration/forget", self._schema).numbered, migration.version)

        await self._run(connection, migration, sql_of(migration, self._schema, down=True), record)

    async def _run(
        self,
        connection: asyncpg.Connection[asyncpg.Record],
        migration: Migration,
        text: str,
        record: Callable[[], Awaitable[None]],
    ) -> None:
        if text.startswith("-- online"):
            await self._patiently(
                migration, running_online(connection, statements_of(text)), "may be repeated"
            )
            await record()
            return

        async def whole() -> None:
            try:
                await connection.execute("BEGIN")
                await connection.execute(text)
                await record()
                await connection.execute("COMMIT")
            except asyncpg.PostgresError:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise

        await self._patiently(migration, whole, "was rolled back")

    async def _patiently(self, migration: Migration, action: Callable[[], Awaitable[T]], now: str) -> T:
        named = _named(migration.version, migration.name)
        try:
            return await taking_locks(action)
        except BROKEN as error:
            if may_have_been_done(error):
                raise MigrationError(
                    f"the connection was lost during migration {named}, so it is not known whether that was applied: run "
                    f"the same again, which does only what is missing: {translated(error, 'migrate')}"
                ) from error
            raise MigrationError(f"migration {named} failed and {now}: {error}") from error

    async def _applied(self, connection: asyncpg.Connection[asyncpg.Record]) -> dict[int, datetime]:
        rows = await self._log_of(connection)
        known = {migration.version for migration in migrations()}
        for row in rows:
            if row["version"] not in known:
                raise MigrationError(
                    f"the database has migration {_named(row['version'], row['name'])}, which this version of jobplane "
                    "does not know: it is newer than the code. Upgrade jobplane, or migrate down with the newer one."
                )
        _check_unedited(rows)
        return {row["version"]: row["applied_at"] for row in rows}

    async def _log_of(self, connection: asyncpg.Connection[asyncpg.Record]) -> list[asyncpg.Record]:
        if await connection.fetchval("SELECT to_regclass($1)", self._log) is None:
            return []
        return await connection.fetch(load("migration/list", self._schema).numbered)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        settings = past_pooler(self._settings) or self._settings  # the log can be read anywhere
        connection = await self._connected(settings)
        try:
            async with held(connection, settings, OPERATOR_SESSION):
                yield connection
        except BROKEN as error:
            raise translated(error, "migrate") from error
        finally:
            await connection.close()

    async def _connected(self, settings: DatabaseSettings) -> asyncpg.Connection[asyncpg.Record]:
        give_up = time.monotonic() + self._settings.patience.total_seconds()
        while True:
            try:
                connection = await connect(
                    settings, OPERATOR_SESSION, "jobplane migrate", command_timeout=None
                )
                if settings.prepared_statements:  # a pooler would hand the owner's rights to somebody else
                    await act_as_owner(connection, self._schema)
                return connection
            except (OSError, asyncpg.PostgresError) as error:
                if reaction_to(error) is Reaction.FATAL or time.monotonic() > give_up:
                    raise translated(error, "connecting to migrate") from error
            await asyncio.sleep(random.uniform(0.05, 0.3))  # noqa: S311 - spread, not secrecy

    @asynccontextmanager
    async def _alone(self, connection: asyncpg.Connection[asyncpg.Record]) -> AsyncIterator[None]:
        # Asked for again and again rather than waited for: a waiting statement holds a snapshot, and
        # CREATE INDEX CONCURRENTLY waits for all snapshots: the two would wait for each other.
        key = int.from_bytes(
            hashlib.sha256(f"jobplane migrate {self._schema}".encode()).digest()[:8], signed=True
        )
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", key):  # noqa: ASYNC110
            await asyncio.sleep(random.uniform(0.05, 0.2))  # noqa: S311 - spread, not secrecy
        try:
            yield
        finally:
            if not connection.is_closed():
                await connection.fetchval("SELECT pg_advisory_unlock($1)", key)


def _check_unedited(rows: list[asyncpg.Record]) -> None:
    checksums = {migration.version: migration.checksum for migration in migrations()}
    for row in rows:
        expected = checksums.get(row["version"], row["checksum"])
        if expected != row["checksum"]:
            raise MigrationError(
                f"migration {_named(row['version'], row['name'])} was edited after it had been applied "
                f"(checksum {row['checksum'][:12]} there, {expected[:12]} here). "
                "Restore the file, and make the change in a new migration."
            )


def _named(version: int, name: str) -> str:
    return f"{version:03}_{name}"


def _recorded_with(migration: Migration) -> tuple[Migration, ...]:
    # The log itself is made by version 2, which therefore records version 1 as well.
    match migration.version:
        case 1:
            return ()
        case 2:
            return migrations()[:2]
        case _:
            return (migration,)


def _lines(rows: Sequence[Migration]) -> dict[str, SQLValue]:
    return {
        "versions": [row.version for row in rows],
        "names": [row.name for row in rows],
        "checksums": [row.checksum for row in rows],
    }
