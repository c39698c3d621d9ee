"""What an asynchronous client holds while one event loop runs it, and how operations are run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias, TypeVar, cast

from jobplane import forking
from jobplane.client import inserts, ops
from jobplane.client.batcher import Batcher, Insert
from jobplane.client.notifier import Notifier
from jobplane.client.steps import Pause, Query, Steps
from jobplane.client.turns import AsyncTurns
from jobplane.errors import ConfigurationError, DatabaseError
from jobplane.job import NewJob
from jobplane.settings import DatabaseSettings
from jobplane.sql import load
from jobplane.store.adapters import async_runner, is_asyncpg
from jobplane.store.bulk import can_copy, chunks, copy, copy_in, translating
from jobplane.store.database import Connection, Database
from jobplane.store.inherited import abandon, running_loop
from jobplane.store.lane import Lane
from jobplane.store.rows import Row
from jobplane.store.session import CLIENT_SESSION

T = TypeVar("T")
Run: TypeAlias = Callable[[Query], Awaitable[Sequence[Row]]]
LANES: Final = 2
"""Connections for single enqueues, beside the pool; one more sends wake-ups."""
LANE_SESSION: Final = CLIENT_SESSION.but(lock_timeout="100ms")
"""No batch waits longer for the key of one of its jobs, or for the table."""


class Runtime:
    """The pool, the gathering of enqueues and the wake-ups of one client on one event loop."""

    def __init__(self, settings: DatabaseSettings, tenant: str | None = None) -> None:
        if not settings.is_given:
            raise ConfigurationError(
                "no database is configured: set DATABASE_URL (or AUDIT_LOGS_DB_HOST and the others), or pass a url. "
                "jobplane doctor shows what is in effect."
            )
        self.loop = running_loop()
        self.database = Database(settings, replicated=True, tenant=tenant)
        # What a lane would wait for is waited for over the pool. Through a pooler, setting the limit would take a
        # transaction of several statements for each enqueue.
        limited = settings.prepared_statements
        inserting = (
            Database(settings, setup=LANE_SESSION, retries=0, replicated=True, tenant=tenant)
            if limited
            else self.database
        )
        self._lanes = [*(Lane(inserting) for _ in range(LANES)), Lane(self.database)]
        self.batcher = Batcher(
            [self._inserting_over(lane) for lane in self._lanes[:LANES]],
            lambda jobs, doubt: perform(inserts.insert_of_our_own(jobs, doubt), self.run),
            AsyncTurns(max(settings.pool_max // 2, 1), settings.patience.total_seconds()),
            keys_wait_apart=not limited,
        )
        self._waking = self._running_over(self._lanes[LANES])
        self.notifier = Notifier(self._notify)

    async def run(self, query: Query) -> Sequence[Row]:
        """One statement on a connection of the pool, with patience."""
        statement = self.database.statement(query.statement, query.verb)
        if query.once:
            return await self.database.fetch_exactly_once(statement, query.args)
        return cast("Sequence[Row]", await self.database.fetch(statement, query.args, query.doubt))

    def _inserting_over(self, lane: Lane) -> Insert:
        run = self._running_over(lane)
        return lambda jobs: perform(inserts.insert_of_our_own(jobs), run)

    def _running_over(self, lane: Lane) -> Run:
        async def run(query: Query) -> Sequence[Row]:
            rows = await lane.fetch(
                self.database.statement(query.statement, query.verb), query.args, query.doubt
            )
            return cast("Sequence[Row]", rows)

        return run

    async def copy(self, jobs: Iterable[NewJob] | AsyncIterable[NewJob]) -> int:
        """Write jobs by COPY and wake their workers."""
        queues: set[str] = set()
        if self.database.tenant is None:
            count = await copy(self.database, jobs, queues)
        else:  # row security refuses COPY
            async with translating("enqueue_many") as doubt, self.database.transaction() as connection:
                run = on_connection(connection, self.database.settings.schema)
                count = await _insert_chunks(jobs, run, queues, all_new=True)
                doubt.unanswered = True
        for queue in queues:
            self.notifier.wake(queue)
        return count

    async def close(self) -> None:
        """Send outstanding wake-ups, then close the pool."""
        await self.notifier.settle()
        for lane in self._lanes:
            await lane.close()
        await self.database.close()

    def abandon(self) -> None:
        """In a forked child: leave everything to the parent, whose connections and tasks these are."""
        forking.keep(self)
        abandon(self.loop)

    async def _notify(self, word: str) -> None:
        await perform(ops.wake([word], self.database.settings.schema), self._waking)


class CurrentRuntime:
    """The runtime of this process and of the event loop that runs the caller: a client lives across several of both."""

    def __init__(self, make: Callable[[], Runtime]) -> None:
        self._make = make
        self._runtime: Runtime | None = None
        forking.renew_in_child(self._begin_afresh)

    def get(self) -> Runtime:
        """The runtime, made if need be. Raises ForkedProcessError in a child that goes on in its parent's loop."""
        forking.check_process()
        if self._runtime is None or self._runtime.loop is not running_loop():
            self._runtime = self._make()
        return self._runtime

    async def close(self) -> None:
        """Close what this process has opened on this event loop."""
        forking.check_process()
        runtime, self._runtime = self._runtime, None
        if runtime is not None and runtime.loop is asyncio.get_running_loop():
            await runtime.close()

    def _begin_afresh(self) -> None:
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            runtime.abandon()


async def perform(steps: Steps[T], run: Run) -> T:
    """Drive an operation: hand each statement to `run`, and its rows (or its error) back."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = steps.send(())
                continue
            try:
                rows = await run(step)
            except DatabaseError as error:
                step = steps.throw(error)
            else:
                step = steps.send(rows)
    except StopIteration as stop:
        return cast("T", stop.value)


def on_connection(connection: object, schema: str) -> Run:
    """Statements on the caller's own connection. Raises UnsupportedConnectionError."""
    run_statement = async_runner(connection)

    async def run(query: Query) -> Sequence[Row]:
        return await run_statement(load(query.statement, schema), query.args)

    return run


async def insert_many_on(
    connection: object,
    jobs: Iterable[NewJob] | AsyncIterable[NewJob],
    schema: str,
    *,
    notify: bool,
    tenant: str | None = None,
) -> int:
    """Write any number of jobs inside the caller's transaction: by COPY on asyncpg, else a thousand a statement.

    With a tenant the server is told of it first, and COPY is left out, which row security refuses.
    """
    queues = set[str]()
    run = on_connection(connection, schema)
    if tenant is None and is_asyncpg(connection) and await can_copy(cast("Connection", connection)):
        count = await copy_in(cast("Connection", connection), jobs, schema, queues)
    else:
        await perform(ops.enter(tenant), run)
        count = await _insert_chunks(jobs, run, queues)
    if notify:
        await perform(ops.wake(queues, schema), run)
    return count


async def _insert_chunks(
    jobs: Iterable[NewJob] | AsyncIterable[NewJob], run: Run, queues: set[str], *, all_new: bool = False
) -> int:
    count = 0
    insert = inserts.insert_new if all_new else inserts.insert
    async for chunk in chunks(jobs):
        queues.update(job.queue for job in chunk)
        count += len(await perform(insert(chunk), run))
    return count
