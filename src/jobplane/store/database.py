"""Connections: one lazily opened pool for a process, and statements that survive what databases go through."""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar, cast

import asyncpg

from jobplane import forking
from jobplane.errors import ConfigurationError, ForkedProcessError, NotReplicatedError
from jobplane.settings import DatabaseSettings
from jobplane.sql import SQLValue, Statement, load
from jobplane.store.connecting import connect
from jobplane.store.doubt import Attempted, Doubt, was_never_there
from jobplane.store.failures import Reaction, presentable, reaction_to, sqlstate_of
from jobplane.store.pooler import must_pass_pooler
from jobplane.store.replication import replication_heeded
from jobplane.store.rows import Row
from jobplane.store.session import CLIENT_SESSION, Session

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
RETRIES_ON_SAME_CONNECTION: Final = 5


class Database:
    """The database of one process: opened on first use, by one event loop.

    Args:
        settings: where it is.
        setup: what its sessions are set to.
        size: connections at most; default settings.pool_max.
        retries: how often to repeat after a deadlock, serialization failure or lock timeout.
        clock: the function that statements read the time from; for tests.
        replicated: whether a commit that was not confirmed by its synchronous standby is an error. Workers need not
            know: a claim or an outcome that a failover undoes is a job that runs again.
        tenant: whose jobs to see and write, where settings.row_security says that the server asks.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        setup: Session = CLIENT_SESSION,
        size: int | None = None,
        retries: int = RETRIES_ON_SAME_CONNECTION,
        clock: str = "now()",
        application_name: str = "jobplane",
        replicated: bool = False,
        tenant: str | None = None,
    ) -> None:
        self.settings = settings
        self.replicated = replicated
        self.tenant = tenant if settings.row_security else None
        """The tenant that the server is told of; None where it does not ask."""
        self._setup = setup
        self._size = size or settings.pool_max
        self._clock = clock
        self._retries = retries
        self._application_name = application_name
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()
        self._made: weakref.WeakSet[asyncpg.Connection[asyncpg.Record]] = weakref.WeakSet()
        self._forks = forking.forks()

    def statement(self, name: str, verb: str | None = None) -> Statement:
        """The statement of sql/<name>.sql for this database's schema; `verb` as in jobplane.sql.load."""
        return load(name, self.settings.schema, self._clock, verb)

    async def fetch(
        self, statement: Statement, args: Mapping[str, SQLValue], doubt: Doubt | None = None
    ) -> list[asyncpg.Record]:
        """Run one idempotent statement, again after errors that pass, for as long as settings.patience.

        `doubt` learns whether a try may have been done whose answer was lost. Raises the DatabaseError that fits; the
        driver's is its cause.
        """
        values = statement.positions(args)
        return await self.patiently(statement.name, lambda: self.fetch_once(statement, values, doubt), doubt)

    async def fetch_once(
        self, statement: Statement, values: Sequence[SQLValue], doubt: Doubt | None = None
    ) -> list[asyncpg.Record]:
        """One try, for what must not be repeated blindly. Raises the driver's own errors."""
        async with self.connection() as connection:
            with replication_heeded(connection, heeded=self.replicated):
                return await self.fetch_on(connection, statement, values, doubt)

    async def fetch_on(
        self,
        connection: Connection,
        statement: Statement,
        values: Sequence[SQLValue],
        doubt: Doubt | None = None,
    ) -> list[asyncpg.Record]:
        """One statement on a connection that was opened here."""
        try:
            if not self._needs_transactions:
                return await connection.fetch(statement.numbered, *values)
            async with self._within_transaction(connection):
                return await connection.fetch(statement.numbered, *values)
        except Exception as error:
            if doubt is not None:
                doubt.hear(error)
            raise

    @asynccontextmanager
    async def within(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction around several statements, where something must be set for each transaction; else nothing."""
        if not self._needs_transactions:
            yield
            return
        async with self._within_transaction(connection):
            yield

    async def fetch_exactly_once(self, statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        """Run one statement that must take effect once, again only after tries that certainly had none.

        Raises the DatabaseError that fits; OutcomeUnknownError where the server could not be asked in time.
        """
        values = statement.positions(args)
        begun, outcome = self.statement("transaction/begun"), self.statement("transaction/outcome")
        attempted: Attempted | None = None
        doubt = Doubt()

        async def attempt() -> Sequence[Row]:
            nonlocal attempted
            if attempted is not None:
                try:
                    (found,) = await self.fetch_once(outcome, [attempted.id])
                    if attempted.is_done(found["outcome"]):
                        return attempted.rows
                except asyncpg.PostgresError as error:
                    if not was_never_there(error):
                        raise
                attempted, doubt.unanswered = None, False
            async with self.connection() as connection:
                with replication_heeded(connection, heeded=self.replicated):
                    async with self._within_transaction(connection):
                        (named,) = await connection.fetch(begun.numbered)
                        rows = cast("Sequence[Row]", await connection.fetch(statement.numbered, *values))
                        attempted, doubt.unanswered = Attempted(named["id"], rows), True
                    return rows

        return await self.patiently(statement.name, attempt, doubt)

    async def patiently(
        self, doing: str, attempt: Callable[[], Awaitable[T]], doubt: Doubt | None = None
    ) -> T:
        """Try something idempotent, again after errors that pass. `doing` names it in the error.

        Patience counts from now, or, where `doubt` is of an operation that lost an answer, from the operation's begin.
        """
        began = doubt.since if doubt is not None and doubt.is_open else time.monotonic()
        give_up = began + self.settings.patience.total_seconds()
        tries = 0
        while True:
            tries += 1
            try:
                return await attempt()
            except (ConfigurationError, ForkedProcessError, NotReplicatedError):
                raise
            except Exception as error:  # noqa: BLE001 - none is swallowed
                reaction = reaction_to(error)
                final = reaction in (Reaction.DEPLOY, Reaction.FATAL) or (
                    reaction is Reaction.RETRY and tries > self._retries
                )
                pause = pause_before(tries, reaction)
                if final or time.monotonic() + pause > give_up:
                    raise (doubt or Doubt()).translated(error, doing) from presentable(error)
            await asyncio.sleep(pause)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection of the pool. One that broke, or that turned out read-only, does not come back."""
        pool = await self._opened()
        timeout = self.settings.connect_timeout.total_seconds()
        connection = await pool.acquire(timeout=timeout)
        try:
            yield connection
        except BaseException as error:
            # Giving back a connection whose statement was cancelled would wait for the server, however long.
            if sqlstate_of(error) == "25006" or isinstance(error, TimeoutError | asyncio.CancelledError):
                connection.terminate()
            raise
        finally:
            await pool.release(connection, timeout=timeout)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """As `connection`, inside a transaction. A cancelled one does not wait for the server to roll back."""
        async with self.connection() as connection, self._within_transaction(connection):
            yield connection

    async def set_locally(self, connection: Connection) -> None:
        """At the begin of a transaction: what must end with it, since a pooler gives the next one to somebody else."""
        if not self.settings.prepared_statements:
            try:
                await connection.execute(self._setup.for_transaction)
            except asyncpg.FeatureNotSupportedError as error:  # a standby cannot even promise to write
                raise asyncpg.ReadOnlySQLTransactionError(str(error)) from error
        if self.tenant is not None:
            await connection.fetch(self.statement("tenant/enter").numbered, self.tenant)

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection of its own, outside of the pool: for lanes, and for the heartbeat's thread."""
        return await self._connected(self.settings)

    async def connect_directly(self) -> asyncpg.Connection[asyncpg.Record]:
        """As `connect`, to the server itself, past any pooler: for LISTEN. Raises ConfigurationError if that is not known."""
        return await self._connected(must_pass_pooler(self.settings, "LISTEN"))

    def give_up_connections(self) -> None:
        """Drop all connections, without a word to the server: who waits for an answer tries again on a new one."""
        for connection in list(self._made):
            connection.terminate()

    async def close(self, timeout: float = 5.0) -> None:
        """Close all connections, by force after `timeout` seconds; the next use opens the pool again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), timeout)
            except TimeoutError:
                pool.terminate()

    async def _connected(self, settings: DatabaseSettings) -> asyncpg.Connection[asyncpg.Record]:
        if self._forks != forking.forks():
            # Whoever holds this is the parent's client, or its worker, and goes on in a copy of its event loop.
            raise ForkedProcessError("this connection belongs to the process that this one was forked from")
        connection = await connect(settings, self._setup, self._application_name)
        self._made.add(connection)
        return connection

    @property
    def _needs_transactions(self) -> bool:
        return self.tenant is not None or not self.settings.prepared_statements

    @asynccontextmanager
    async def _within_transaction(self, connection: Connection) -> AsyncIterator[None]:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await self.set_locally(connection)
            yield
        except (TimeoutError, asyncio.CancelledError):
            raise  # the connection is closed by whoever holds it, and the transaction with it
        except BaseException:
            if not connection.is_closed():
                await transaction.rollback()
            raise
        await transaction.commit()

    async def _opened(self) -> asyncpg.Pool[asyncpg.Record]:
        async with self._opening:
            if self._pool is None:
                # No connection is made before it is needed, so a server that is down is met in `run`, with patience.
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=self._size,
                    connect=self._connect,
                    reset=_no_reset,
                )
            return self._pool

    async def _connect(self, *_args: object, **_kwargs: object) -> asyncpg.Connection[asyncpg.Record]:
        return await self.connect()


async def _no_reset(_connection: object) -> None:
    # The pool would run RESET ALL at each release: a round trip for nothing, as we change no session state.
    return


def pause_before(tries: int, reaction: Reaction) -> float:
    """Seconds to wait before the next try: full jitter, longer where the server is short of something."""
    ceiling = min((0.2 if reaction is Reaction.BACK_OFF else 0.05) * 2**tries, 2.0)
    return random.uniform(0.01, ceiling)  # noqa: S311 - spread, not secrecy
