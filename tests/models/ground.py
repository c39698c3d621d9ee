"""A database whose time the test sets, and the real statements on connections of the test's choosing."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar, cast

import asyncpg

from jobplane.client.runtime import perform
from jobplane.client.steps import Query, Steps
from jobplane.settings import DatabaseSettings, WorkerSettings
from jobplane.sql import SQLValue, Statement, load
from jobplane.store.database import Database
from jobplane.store.doubt import Doubt
from jobplane.store.failures import translated
from jobplane.store.lane import Lane
from jobplane.store.rows import Row
from jobplane.store.session import WORKER_SESSION
from jobplane.store.session import Session as DatabaseSession
from jobplane.store.store import Store

T = TypeVar("T")
START: Final = datetime(2030, 1, 1, tzinfo=UTC)
CLOCK: Final = '"control_plane".test_now()'
# A setting of the session, not a row: reading it costs next to nothing, and no statement waits for another's lock.
CREATE_CLOCK: Final = """
CREATE FUNCTION control_plane.test_now() RETURNS timestamptz STABLE LANGUAGE sql
AS $$ SELECT current_setting('models.now')::timestamptz $$
"""
# The epochs last: emptying the jobs keeps those that they had.
EMPTY: Final = "TRUNCATE control_plane.jobs, control_plane.job_attempts, control_plane.queues; TRUNCATE control_plane.epochs"


class Session(Lane):
    """One connection with a settable time: the store's methods and the client's operations run on it, once each.

    Nothing is repeated after an error, so that a deadlock cannot hide behind the second try.
    """

    def __init__(
        self, database: Database, connection: asyncpg.Connection[asyncpg.Record], pid: int = 0
    ) -> None:
        super().__init__(database)
        self.database = database
        self.connection = connection
        self.pid = pid
        self.store = _Store(database, self)

    @classmethod
    async def open(cls, url: str, setup: DatabaseSession = WORKER_SESSION) -> Session:
        """A new connection whose time stands at START, and which waits for locks as long as it takes."""
        database = Database(DatabaseSettings(url=url), clock=CLOCK)
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(url)
        await connection.execute(setup.but(lock_timeout="0").for_session)
        session = cls(database, connection, connection.get_server_pid())
        await session.set_time(START)
        return session

    async def set_time(self, now: datetime) -> None:
        """From here on, statements of this session take this for now()."""
        await self.connection.fetchval("SELECT set_config('models.now', $1, false)", now.isoformat())

    async def fetch(
        self,
        statement: Statement,
        args: Mapping[str, SQLValue],
        doubt: Doubt | None = None,  # noqa: ARG002 - nothing is sent again
    ) -> list[asyncpg.Record]:
        """One statement, once. Raises the error that a client would see."""
        try:
            return await self.connection.fetch(statement.numbered, *statement.positions(args))
        except asyncpg.PostgresError as error:
            raise translated(error, statement.name) from error

    async def fetch_once(
        self,
        statement: Statement,
        values: Sequence[SQLValue],
        doubt: Doubt | None = None,  # noqa: ARG002 - nothing is sent again
    ) -> list[asyncpg.Record]:
        """As the store's claim asks for it."""
        return await self.connection.fetch(statement.numbered, *values)

    async def perform(self, steps: Steps[T]) -> T:
        """An operation of the clients."""

        async def run(query: Query) -> Sequence[Row]:
            rows = await self.fetch(self.statement(query.statement), query.args)
            return cast("Sequence[Row]", rows)

        return await perform(steps, run)

    def statement(self, name: str) -> Statement:
        """A statement that reads the test's clock."""
        return load(name, "control_plane", CLOCK)


class _Store(Store):
    """The store, its one method that wants a transaction of the pool brought onto the session."""

    def __init__(self, database: Database, session: Session) -> None:
        super().__init__(database, session)
        self._session = session

    async def prune(self, settings: WorkerSettings, limit: int = 1000) -> int:
        return len(await self.pruned(settings, limit))

    async def pruned(self, settings: WorkerSettings, limit: int = 1000) -> set[object]:
        """As prune, but says which."""
        rows = await self._session.fetch(
            self._session.statement("job/prune"),
            {
                "keep_completed": settings.keep_completed.total_seconds(),
                "keep_failed": settings.keep_failed.total_seconds(),
                "keep_cancelled": settings.keep_cancelled.total_seconds(),
                "limit": limit,
            },
        )
        return {row["id"] for row in rows}


class Loop:
    """One event loop for a whole module: synchronous tests run what they need on it."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __call__(self, work: Coroutine[object, object, T]) -> T:
        return self._runner.run(work)

    def close(self) -> None:
        """End the loop."""
        self._runner.close()


def after(seconds: float) -> datetime:
    """A moment, counted from START."""
    return START + timedelta(seconds=seconds)
