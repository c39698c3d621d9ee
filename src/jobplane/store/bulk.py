"""Any number of jobs by COPY, in constant memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import chain, islice
from typing import Final

import asyncpg

from jobplane.job import NewJob
from jobplane.store.database import Connection, Database
from jobplane.store.doubt import Doubt
from jobplane.store.failures import translated_bulk
from jobplane.store.replication import replication_heeded
from jobplane.store.rows import COPY_COLUMNS, record_of

CHUNK: Final = 1000
"""Jobs in memory at once."""


async def copy(database: Database, jobs: Iterable[NewJob] | AsyncIterable[NewJob], queues: set[str]) -> int:
    """COPY jobs over a connection of the pool, all or none; returns how many and collects their queues.

    One try, since the jobs can be iterated once only. Raises the DatabaseError that fits.
    """
    async with translating("enqueue_many") as doubt, database.connection() as connection:
        with replication_heeded(connection, heeded=database.replicated):
            async with _ending_with(connection), database.within(connection):
                return await copy_in(connection, jobs, database.settings.schema, queues, doubt)


@asynccontextmanager
async def _ending_with(connection: Connection) -> AsyncIterator[None]:
    """Raise TimeoutError when the connection ends: the driver would wait for ever to send the rest of a COPY."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:

        def end(_connection: object) -> None:
            if limit.when() is None:
                limit.reschedule(loop.time())

        connection.add_termination_listener(end)
        try:
            yield
        finally:
            with suppress(asyncpg.InterfaceError):  # it went back to its pool when it ended
                connection.remove_termination_listener(end)


@asynccontextmanager
async def translating(doing: str) -> AsyncIterator[Doubt]:
    """What the driver raises inside comes out as the DatabaseError that fits.

    Whoever is about to commit says so with `doubt.unanswered = True`: before that, an error means that nothing is written.
    """
    doubt = Doubt()
    try:
        yield doubt
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise doubt.translated(error, doing, translated_bulk) from error


async def can_copy(connection: Connection) -> bool:
    """Whether a caller's connection has JSON as the driver does: with codecs of their own, COPY would go through them."""
    return bool(await connection.fetchval("SELECT '{}'::pg_catalog.jsonb") == "{}")


async def copy_in(
    connection: Connection,
    jobs: Iterable[NewJob] | AsyncIterable[NewJob],
    schema: str,
    queues: set[str],
    doubt: Doubt | None = None,
) -> int:
    """COPY jobs as they come, in constant memory; returns how many and collects their queues.

    Outside of a transaction the end of the jobs is the commit, which `doubt` is told of.
    """
    now = await connection.fetchval("SELECT pg_catalog.now()")
    count = 0

    def record(job: NewJob) -> tuple[object, ...]:
        nonlocal count
        count += 1
        queues.add(job.queue)
        return record_of(job, now)

    end = _noting_the_end(doubt or Doubt())
    if isinstance(jobs, AsyncIterable):
        records: Iterable[tuple[object, ...]] | AsyncIterable[tuple[object, ...]] = _mapped(record, jobs, end)
    else:
        records = chain(map(record, jobs), end)
    await connection.copy_records_to_table(
        "jobs", schema_name=schema, columns=COPY_COLUMNS, records=records, timeout=None
    )
    return count


def _noting_the_end(doubt: Doubt) -> Iterator[tuple[object, ...]]:
    # Yields nothing. Behind the jobs in a chain, it costs nothing for each of them.
    doubt.unanswered = True
    yield from ()


async def _mapped(
    record: Callable[[NewJob], tuple[object, ...]],
    jobs: AsyncIterable[NewJob],
    end: Iterator[tuple[object, ...]],
) -> AsyncIterator[tuple[object, ...]]:
    async for job in jobs:
        yield record(job)
    for nothing in end:
        yield nothing


async def chunks(jobs: Iterable[NewJob] | AsyncIterable[NewJob]) -> AsyncIterator[list[NewJob]]:
    """Jobs by the thousand."""
    if isinstance(jobs, AsyncIterable):
        chunk: list[NewJob] = []
        async for job in jobs:
            chunk.append(job)
            if len(chunk) == CHUNK:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
        return
    iterator = iter(jobs)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
