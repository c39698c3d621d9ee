"""The history of transitions in the database: switching it on and off, reading it, and pruning it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from sys import intern
from typing import Final

import asyncpg

from jobplane.history.record import History, Profile, Row, Transition
from jobplane.job import JobStatus
from jobplane.sql import SQLValue, Statement
from jobplane.store.connecting import connect, held
from jobplane.store.database import Database
from jobplane.store.failures import may_have_been_done, outcome_unknown, translated
from jobplane.store.locks import BROKEN, taking_locks
from jobplane.store.owners import pruning
from jobplane.store.rows import as_uuid
from jobplane.store.session import CLIENT_SESSION, OPERATOR_SESSION, Session

AT_A_TIME: Final = 2000
"""Rows that a cursor fetches in one go."""


@dataclass(frozen=True, slots=True)
class HistoryStatus:
    """Whether a history is kept, and how much there is."""

    since: datetime | None
    """From when on it is kept without a break; None while it is not kept."""
    transitions: int
    first: datetime | None
    last: datetime | None


class HistoryStore:
    """The history of one database.

    Args:
        database: where it is. All but pruning use connections of their own, outside of its pool.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def on(self) -> None:
        """Keep the history from now on; nothing changes where it is kept already. Needs the owner of the table."""
        await self._switch("history/on")

    async def off(self) -> None:
        """Keep no more history; what is there stays until it is pruned."""
        await self._switch("history/off")

    async def since(self) -> datetime | None:
        """Since when it is kept without a break; None while it is not kept."""
        async with self.snapshot() as snapshot:
            return snapshot.since

    async def is_on(self) -> bool:
        """Whether it is kept."""
        return await self.since() is not None

    async def status(self) -> HistoryStatus:
        """Whether it is kept, and how much there is. Reads the whole history."""
        async with self.snapshot() as snapshot:
            (row,) = await snapshot.fetch("history/count")
            return HistoryStatus(snapshot.since, row["transitions"], row["first"], row["last"])

    async def prune(self, keep: timedelta, limit: int = 50_000) -> int:
        """Delete up to `limit` transitions that are older than `keep`; returns how many."""
        statement = await pruning(self._database, "history/prune")
        return len(await self._database.fetch(statement, {"keep": keep.total_seconds(), "limit": limit}))

    @asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """One view of rows and transitions, read only: a role that may only SELECT will do."""
        connection = await self._connected()
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                if not self._database.settings.prepared_statements:
                    await connection.execute(CLIENT_SESSION.for_snapshot)
                snapshot = Snapshot(self._database, connection)
                await snapshot.begin()
                yield snapshot
        except asyncpg.PostgresError as error:
            raise translated(error, "reading the history") from error
        finally:
            await connection.close()

    async def read(
        self, profile: Profile | None = None, *, settled: bool = False, keep: timedelta | None = None
    ) -> History:
        """Rows and transitions as one history, in memory; what clients and handlers know is for the caller to add.

        Args:
            profile: see History.
            settled: see History.
            keep: the retention of transitions: those about to be pruned are not read.
        """
        async with self.snapshot() as snapshot:
            frame = await snapshot.frame(profile, settled=settled, keep=keep)
            return replace(frame, transitions=tuple([item async for item in snapshot.transitions()]))

    async def _switch(self, name: str) -> None:
        text = self._database.statement(name).numbered
        connection = await self._connected(OPERATOR_SESSION)

        async def switch() -> None:
            async with held(connection, self._database.settings, OPERATOR_SESSION):
                await connection.execute(text)

        try:
            await taking_locks(switch)
        except BROKEN as error:
            known = translated(error, name)
            raise (outcome_unknown(known) if may_have_been_done(error) else known) from error
        finally:
            await connection.close()

    async def _connected(self, session: Session = CLIENT_SESSION) -> asyncpg.Connection[asyncpg.Record]:
        # No limit on one answer: the whole history may have to be sorted before its first row comes.
        settings = self._database.settings
        return await self._database.patiently(
            "connecting to the history", lambda: connect(settings, session, "jobplane history", None)
        )


class Snapshot:
    """What HistoryStore.snapshot yields.

    Attributes:
        now: the database's time of the view.
        since: from when on transitions are without a break; None where none are kept.
    """

    now: datetime
    since: datetime | None

    def __init__(self, database: Database, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._database = database
        self._connection = connection

    async def begin(self) -> None:
        """Take the view."""
        self.now = await self._connection.fetchval("SELECT now()")
        rows = await self.fetch("history/since")
        self.since = rows[0]["since"] if rows else None

    async def frame(
        self, profile: Profile | None = None, *, settled: bool = False, keep: timedelta | None = None
    ) -> History:
        """The history without its transitions, which may be many.

        With `keep`, transitions about to be pruned are left out from here on.
        """
        if self.since is not None and keep is not None:
            # A minute more than the pruner, who may be at work.
            self.since = max(self.since, self.now - keep + timedelta(minutes=1))
        whole = self.since is not None and bool(
            (await self.fetch("history/whole", since=self.since))[0]["whole"]
        )
        return History(
            transitions=(),
            rows=tuple([_row_of(row) async for row in self._stream("history/rows")]),
            now=self.now,
            profile=profile,
            whole=whole,
            unbroken=self.since is not None,
            settled=settled,
        )

    async def transitions(self) -> AsyncIterator[Transition]:
        """Job by job, each job's in order; none where no history is kept, since there may be gaps."""
        if self.since is not None:
            async for row in self._stream("history/transitions", since=self.since):
                yield _transition_of(row)

    async def fetch(self, name: str, **args: SQLValue) -> list[asyncpg.Record]:
        """All rows of a statement."""
        statement = self._database.statement(name)
        return await self._connection.fetch(statement.numbered, *statement.positions(args))

    async def _stream(self, name: str, **args: SQLValue) -> AsyncIterator[asyncpg.Record]:
        statement: Statement = self._database.statement(name)
        values = statement.positions(args)
        async for row in self._connection.cursor(statement.numbered, *values, prefetch=AT_A_TIME):
            yield row


def _transition_of(row: asyncpg.Record) -> Transition:
    # Millions of rows have a handful of these words between them.
    return Transition(
        job_id=as_uuid(row["job_id"]),
        rev=row["rev"],
        verb=intern(row["verb"]),
        before=None if row["from_status"] is None else JobStatus(row["from_status"]),
        after=None if row["to_status"] is None else JobStatus(row["to_status"]),
        epoch=row["epoch"],
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        type=intern(row["type"]),
        queue=intern(row["queue"]),
        priority=row["priority"],
        unique_key=row["unique_key"],
        scheduled_at=row["scheduled_at"],
        lease_was=row["lease_was"],
        lease_is=row["lease_is"],
        worker_id=None if row["worker_id"] is None else intern(row["worker_id"]),
        actor=intern(row["actor"]),
        at=row["at"],
    )


def _row_of(row: asyncpg.Record) -> Row:
    return Row(
        job_id=as_uuid(row["id"]),
        status=JobStatus(row["status"]),
        attempts=row["attempts"],
        max_attempts=row["max_attempts"],
        epoch=row["lease_epoch"],
        queue=intern(row["queue"]),
        unique_key=row["unique_key"],
        scheduled_at=row["scheduled_at"],
        lease_expires_at=row["lease_expires_at"],
        ended=row["ended"],
        adopted=row["adopted"],
    )
