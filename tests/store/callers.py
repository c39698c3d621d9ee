"""The connections and sessions that callers may hand over, each opened inside a transaction of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg
import psycopg
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine
from sqlalchemy.orm import Session, scoped_session, sessionmaker
from sqlalchemy.pool import NullPool


@dataclass(frozen=True)
class Caller:
    """An asynchronous transaction of the caller's."""

    connection: object
    commit: Callable[[], Awaitable[object]]
    rollback: Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class SyncCaller:
    """A synchronous transaction of the caller's."""

    connection: object
    commit: Callable[[], object]
    rollback: Callable[[], object]


Open: TypeAlias = Callable[[str], AbstractAsyncContextManager[Caller]]
OpenSync: TypeAlias = Callable[[str], AbstractContextManager[SyncCaller]]


@asynccontextmanager
async def _asyncpg(url: str) -> AsyncIterator[Caller]:
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    yield Caller(connection, transaction.commit, transaction.rollback)
    await connection.close()


@asynccontextmanager
async def _asyncpg_pool(url: str) -> AsyncIterator[Caller]:
    async with asyncpg.create_pool(url, min_size=1, max_size=1) as pool, pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield Caller(connection, transaction.commit, transaction.rollback)


@asynccontextmanager
async def _psycopg_async(url: str) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        yield Caller(connection, connection.commit, connection.rollback)


@asynccontextmanager
async def _psycopg_raw_async(url: str) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(
        url, cursor_factory=psycopg.AsyncRawCursor
    ) as connection:
        yield Caller(connection, connection.commit, connection.rollback)


@asynccontextmanager
async def _psycopg_pipeline_async(url: str) -> AsyncIterator[Caller]:
    async with await psycopg.AsyncConnection.connect(url) as connection, connection.pipeline():
        yield Caller(connection, connection.commit, connection.rollback)


@asynccontextmanager
async def _scoped_async(url: str) -> AsyncIterator[Caller]:
    engine = create_async_engine(_dialect(url, "asyncpg"), poolclass=NullPool)
    session = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)
    yield Caller(session, session.commit, session.rollback)
    await session.remove()
    await engine.dispose()


def _alchemy_session(driver: str) -> Open:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Caller]:
        engine = create_async_engine(_dialect(url, driver), poolclass=NullPool)
        async with AsyncSession(engine) as session:
            yield Caller(session, session.commit, session.rollback)
        await engine.dispose()

    return opened


def _alchemy_connection(driver: str) -> Open:
    @asynccontextmanager
    async def opened(url: str) -> AsyncIterator[Caller]:
        engine = create_async_engine(_dialect(url, driver), poolclass=NullPool)
        async with engine.connect() as connection:
            yield Caller(connection, connection.commit, connection.rollback)
        await engine.dispose()

    return opened


@contextmanager
def _psycopg(url: str) -> Iterator[SyncCaller]:
    with psycopg.connect(url) as connection:
        yield SyncCaller(connection, connection.commit, connection.rollback)


@contextmanager
def _psycopg_raw(url: str) -> Iterator[SyncCaller]:
    with psycopg.connect(url, cursor_factory=psycopg.RawCursor) as connection:
        yield SyncCaller(connection, connection.commit, connection.rollback)


@contextmanager
def _psycopg_pipeline(url: str) -> Iterator[SyncCaller]:
    with psycopg.connect(url) as connection, connection.pipeline():
        yield SyncCaller(connection, connection.commit, connection.rollback)


@contextmanager
def _scoped(url: str) -> Iterator[SyncCaller]:
    engine = create_engine(_dialect(url, "psycopg"), poolclass=NullPool)
    session = scoped_session(sessionmaker(engine))
    yield SyncCaller(session, session.commit, session.rollback)
    session.remove()
    engine.dispose()


@contextmanager
def _sync_session(url: str) -> Iterator[SyncCaller]:
    engine = create_engine(_dialect(url, "psycopg"), poolclass=NullPool)
    with Session(engine) as session:
        yield SyncCaller(session, session.commit, session.rollback)
    engine.dispose()


@contextmanager
def _sync_connection(url: str) -> Iterator[SyncCaller]:
    engine = create_engine(_dialect(url, "psycopg"), poolclass=NullPool)
    with engine.connect() as connection:
        yield SyncCaller(connection, connection.commit, connection.rollback)
    engine.dispose()


def _dialect(url: str, driver: str) -> str:
    return url.replace("postgresql://", f"postgresql+{driver}://", 1)


ASYNC: Final[dict[str, Open]] = {
    "asyncpg": _asyncpg,
    "asyncpg pool": _asyncpg_pool,
    "psycopg async": _psycopg_async,
    "psycopg async with RawCursor": _psycopg_raw_async,
    "psycopg async in a pipeline": _psycopg_pipeline_async,
    "async_scoped_session": _scoped_async,
    "AsyncSession on asyncpg": _alchemy_session("asyncpg"),
    "AsyncSession on psycopg": _alchemy_session("psycopg"),
    "AsyncConnection on asyncpg": _alchemy_connection("asyncpg"),
    "AsyncConnection on psycopg": _alchemy_connection("psycopg"),
}
SYNC: Final[dict[str, OpenSync]] = {
    "psycopg": _psycopg,
    "psycopg with RawCursor": _psycopg_raw,
    "psycopg in a pipeline": _psycopg_pipeline,
    "scoped_session": _scoped,
    "Session": _sync_session,
    "Connection": _sync_connection,
}
