"""Connections: one lazily opened pool for a process, and statements that survive what databases go through."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, TypeVar

import asyncpg

from jobplane.errors import ConfigurationError
from jobplane.settings import DatabaseSettings, masked
from jobplane.sql import SQLValue, Statement, load
from jobplane.store.failures import Reaction, reaction_to, sqlstate_of, translated

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
RETRIES_ON_SAME_CONNECTION: Final = 5

# A generic plan that was made while the table was empty would sort all waiting jobs for each claim; without
# these choices the planner can only walk the indexes that the statements are written for.
WORKER_SESSION: Final = (
    "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; "
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; "
    # A row that someone keeps locked must not hold up the batch it is in.
    "SET lock_timeout = '200ms'"
)


class Database:
    """The database of one process: opened on first use, by one event loop.

    Args:
        settings: where it is.
        setup: SQL that each new connection runs first.
        size: connections at most; default settings.pool_max.
        retries: how often to repeat after a deadlock, serialization failure or lock timeout.
        clock: the function that statements read the time from; for tests.
    """

    def __init__(
        self,
        settings: DatabaseSettings,
        *,
        setup: str = "",
        size: int | None = None,
        retries: int = RETRIES_ON_SAME_CONNECTION,
        clock: str = "now()",
        application_name: str = "jobplane",
    ) -> None:
        self.settings = settings
        self._setup = setup
        self._size = size or settings.pool_max
        self._clock = clock
        self._retries = retries
        self._application_name = application_name
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._opening = asyncio.Lock()

    def statement(self, name: str) -> Statement:
        """The statement of sql/<name>.sql for this database's schema."""
        return load(name, self.settings.schema, self._clock)

    async def fetch(self, statement: Statement, args: Mapping[str, SQLValue]) -> list[asyncpg.Record]:
        """Run one idempotent statement, again after errors that pass, for as long as settings.patience.

        Raises the DatabaseError that fits; the driver's is its cause.
        """
        values = statement.positions(args)
        return await self.patiently(statement.name, lambda: self.fetch_once(statement, values))

    async def fetch_once(self, statement: Statement, values: Sequence[SQLValue]) -> list[asyncpg.Record]:
        """One try, for what must not be repeated blindly. Raises the driver's own errors."""
        async with self.connection() as connection:
            return await connection.fetch(statement.numbered, *values)

    async def patiently(self, doing: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Try something idempotent, again after errors that pass. `doing` names it in the error."""
        give_up = time.monotonic() + self.settings.patience.total_seconds()
        tries = 0
        while True:
            tries += 1
            try:
                return await attempt()
            except ConfigurationError:
                raise
            except Exception as error:
                reaction = reaction_to(error)
                final = reaction in (Reaction.DEPLOY, Reaction.FATAL) or (
                    reaction is Reaction.RETRY and tries > self._retries
                )
                pause = pause_before(tries, reaction)
                if final or time.monotonic() + pause > give_up:
                    raise translated(error, doing) from error
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
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except (TimeoutError, asyncio.CancelledError):
                raise  # the connection is closed, and the transaction with it
            except BaseException:
                await transaction.rollback()
                raise
            await transaction.commit()

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        """A connection of its own, outside of the pool: for LISTEN, and for the heartbeat's thread."""
        return await connect(self.settings, self._setup, self._application_name)

    async def close(self, timeout: float = 5.0) -> None:
        """Close all connections, by force after `timeout` seconds; the next use opens the pool again."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                await asyncio.wait_for(pool.close(), timeout)
            except TimeoutError:
                pool.terminate()

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


class Lane:
    """A connection kept between statements, for the few callers who send one after the other.

    Taking a connection from the pool and giving it back costs the event loop more than a small statement does.
    Not to be used by two callers at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def fetch(self, statement: Statement, args: Mapping[str, SQLValue]) -> list[asyncpg.Record]:
        """As Database.fetch."""
        values = statement.positions(args)
        return await self._database.patiently(statement.name, lambda: self.fetch_once(statement, values))

    async def fetch_once(self, statement: Statement, values: Sequence[SQLValue]) -> list[asyncpg.Record]:
        """As Database.fetch_once."""
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = self._connection = await self._database.connect()
        try:
            return await connection.fetch(statement.numbered, *values)
        except BaseException as error:
            if _spoils_connection(error):
                self._connection = None
                connection.terminate()
            raise

    async def close(self, timeout: float = 2.0) -> None:
        """Close the connection, by force after `timeout` seconds; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with suppress(TimeoutError, OSError):  # it is being given up anyway
                await asyncio.wait_for(connection.close(), timeout)


async def connect(
    settings: DatabaseSettings,
    setup: str = "",
    application_name: str = "jobplane",
    command_timeout: timedelta | Literal["settings"] | None = "settings",
) -> asyncpg.Connection[asyncpg.Record]:
    """One new connection.

    Args:
        settings: where to.
        setup: SQL to run first.
        application_name: as pg_stat_activity shows it.
        command_timeout: the longest wait for an answer; None waits for ever; default settings.statement_timeout.

    Raises:
        ConfigurationError: the URL cannot be read. Beside that, the driver's own errors.
    """
    limit = settings.statement_timeout if command_timeout == "settings" else command_timeout
    where = masked(settings.url) if settings.url else f"{settings.host}:{settings.port}"
    by_parts = settings.url is None
    try:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            settings.url,
            host=settings.host if by_parts else None,
            port=settings.port if by_parts else None,
            database=settings.name if by_parts else None,
            user=settings.user if by_parts else None,
            password=settings.password if by_parts else None,
            ssl=settings.sslmode if by_parts else None,
            timeout=settings.connect_timeout.total_seconds(),
            command_timeout=None if limit is None else limit.total_seconds(),
            server_settings={"application_name": application_name},
        )
    except ssl.SSLError:
        raise  # one that a certificate caused is a ValueError too, and has nothing to do with the URL
    except (ValueError, asyncpg.exceptions.ClientConfigurationError) as error:
        if str(error).startswith("root certificate file"):
            # verify-ca and verify-full want to know whom to trust, and must not go on without.
            raise ConfigurationError(
                f"the server's certificate cannot be verified: {str(error).partition(chr(10))[0]}. Name the file with "
                "sslrootcert=... in the URL, or put it there"
            ) from None
        # The driver's own words may quote a piece of the password, so they are not passed on.
        raise ConfigurationError(
            f"the database URL {where} cannot be read: write it as postgresql://user:password@host:5432/name, with "
            "special characters in user and password percent-encoded"
        ) from None
    if setup:
        await connection.execute(setup)
    return connection


def _spoils_connection(error: BaseException) -> bool:
    cancelled = isinstance(error, asyncio.CancelledError)
    return cancelled or reaction_to(error) in (Reaction.RECONNECT, Reaction.BACK_OFF)


async def _no_reset(_connection: object) -> None:
    # The pool would run RESET ALL at each release: a round trip for nothing, as we change no session state.
    return


def pause_before(tries: int, reaction: Reaction) -> float:
    """Seconds to wait before the next try: full jitter, longer where the server is short of something."""
    ceiling = min((0.2 if reaction is Reaction.BACK_OFF else 0.05) * 2**tries, 2.0)
    return random.uniform(0.01, ceiling)  # noqa: S311 - spread, not secrecy
