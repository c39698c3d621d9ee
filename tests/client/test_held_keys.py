"""A key that somebody's open transaction holds: who enqueues with it waits, and nobody else does (I22)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Final

import asyncpg
import pytest

from jobplane import DatabaseSettings, DatabaseUnavailableError, JobQueue, JobQueueOptions, new_job
from jobplane.ids import new_job_id
from tests.factories import SQL, count_jobs
from tests.support import until

CHOSEN: Final = new_job_id()
HELD: Final[dict[str, Callable[[], JobQueueOptions]]] = {
    "unique key": lambda: {"unique_key": "held"},
    "idempotency key": lambda: {"idempotency_key": "held"},
    "chosen id": lambda: {"id": CHOSEN},
}
each_key = pytest.mark.parametrize("key", HELD.values(), ids=list(HELD))
WAITS: Final = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


@pytest.fixture
async def holder(database_url: str) -> AsyncIterator[SQL]:
    """A connection whose transaction stays open for the test."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await connection.close()


@each_key
@pytest.mark.parametrize("prepared", [True, False], ids=["direct", "through a pooler"])
async def test_callers_with_a_held_key_hold_up_nobody_else(
    settings: DatabaseSettings, holder: SQL, sql: SQL, *, key: Callable[[], JobQueueOptions], prepared: bool
) -> None:
    async with JobQueue(settings=replace(settings, prepared_statements=prepared)) as queue:
        await queue.enqueue("work", {"n": 0}, connection=holder, **key())
        same = [asyncio.create_task(queue.enqueue("work", {"n": n}, **key())) for n in range(1, 25)]
        await until(lambda: _waits(sql))

        others = [asyncio.create_task(queue.enqueue("work", {"n": n})) for n in range(100)]
        others += [asyncio.create_task(queue.enqueue("work", unique_key=f"{n}")) for n in range(20)]
        mixed = [
            asyncio.create_task(queue.enqueue("work", **(key() if n in (3, 7) else {}))) for n in range(20)
        ]
        free = [task for n, task in enumerate(mixed) if n not in (3, 7)]
        async with asyncio.timeout(10):
            made = await asyncio.gather(*others, *free)
            assert await queue.get_job(made[0].id) is not None, "a connection is left to read with"
        waiting = await sql.fetchval(WAITS)
        assert not any(task.done() for task in (*same, mixed[3], mixed[7]))

        await holder.close()
        results = await asyncio.gather(*same, mixed[3], mixed[7])

    assert not any(result.existing for result in made)
    assert waiting <= settings.pool_max // 2
    assert [result.existing for result in results].count(False) == 1, (
        "the holder rolled back: one of them made it"
    )
    assert await count_jobs(sql) == 138 + 1


@each_key
async def test_a_held_key_that_is_committed_is_found(
    queue: JobQueue, holder: SQL, sql: SQL, key: Callable[[], JobQueueOptions]
) -> None:
    first = await queue.enqueue("work", connection=holder, **key())
    same = [asyncio.create_task(queue.enqueue("work", **key())) for _ in range(3)]
    await until(lambda: _waits(sql))

    await holder.execute("COMMIT")
    results = await asyncio.gather(*same)

    assert {(result.id, result.existing) for result in results} == {(first.id, True)}


@each_key
async def test_threads_with_a_held_key_hold_up_no_other_thread(
    queue: JobQueue, holder: SQL, sql: SQL, key: Callable[[], JobQueueOptions]
) -> None:
    await queue.enqueue("work", connection=holder, **key())
    with ThreadPoolExecutor(24) as pool:
        same = [pool.submit(queue.sync.enqueue, "work", **key()) for _ in range(20)]
        await until(lambda: _waits(sql))
        others = [pool.submit(queue.sync.enqueue, "work", {"n": n}) for n in range(50)]
        others.append(pool.submit(queue.sync.enqueue, "work", unique_key="other"))
        async with asyncio.timeout(10):
            made = await asyncio.gather(*map(asyncio.wrap_future, others))
        assert not any(future.done() for future in same)

        await holder.close()
        results = await asyncio.gather(*map(asyncio.wrap_future, same))

    assert not any(result.existing for result in made)
    assert [result.existing for result in results].count(False) == 1


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_who_waits_for_longer_than_patience_is_told_for_what(
    settings: DatabaseSettings, holder: SQL, sql: SQL, colour: str
) -> None:
    impatient = replace(settings, patience=timedelta(seconds=0.5), statement_timeout=timedelta(seconds=30))
    async with JobQueue(settings=impatient) as queue:
        await queue.enqueue("work", connection=holder, unique_key="held")
        first = asyncio.create_task(queue.enqueue("work", unique_key="held"))
        thread = threading.Thread(target=_given_up, args=(queue,), daemon=True)
        if colour == "sync":
            first.cancel()
            thread.start()
        await until(lambda: _waits(sql))

        async def enqueue() -> None:
            if colour == "async":
                await queue.enqueue("work", unique_key="held")
            else:
                await asyncio.to_thread(queue.sync.enqueue, "work", unique_key="held")

        with pytest.raises(DatabaseUnavailableError, match="unique key 'held': an open transaction"):
            await enqueue()
        await holder.close()
        if colour == "async":
            assert not (await first).existing
        else:
            await asyncio.to_thread(thread.join)


async def test_a_lock_on_the_table_is_waited_for_by_all(queue: JobQueue, holder: SQL, sql: SQL) -> None:
    """As while a migration or somebody's LOCK TABLE is under way: nothing is refused."""
    await queue.enqueue("work")
    await holder.execute("LOCK TABLE control_plane.jobs IN EXCLUSIVE MODE")
    jobs = [new_job("work", {"n": n}, {"unique_key": f"{n}"} if n % 10 == 0 else {}) for n in range(100)]

    enqueueing = [asyncio.create_task(queue.enqueue_new(job)) for job in jobs]
    await until(lambda: _waits(sql))
    await holder.execute("COMMIT")
    results = await asyncio.gather(*enqueueing)

    assert not any(result.existing for result in results)
    assert await count_jobs(sql) == 101


async def _waits(sql: SQL) -> bool:
    return bool(await sql.fetchval(WAITS) > 0)


def _given_up(queue: JobQueue) -> None:
    queue.sync.enqueue("work", unique_key="held")
