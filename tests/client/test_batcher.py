"""Concurrent enqueues travel together: fewer statements, and each caller answers for its own job alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import cast

import msgspec
import pytest

from jobplane import (
    DatabaseSettings,
    DatabaseUnavailableError,
    EnqueueJobResult,
    JobQueue,
    NewJob,
    new_job,
)
from jobplane.client import inserts
from jobplane.client.batcher import MAX_BATCH, Batcher, Insert
from jobplane.client.runtime import perform
from jobplane.client.steps import Query
from jobplane.errors import StatementError
from jobplane.store.database import Database
from jobplane.store.lane import Lane
from jobplane.store.rows import Row
from tests.factories import SQL, count_jobs
from tests.support import until


class Recording:
    """A way to insert into the real database that remembers what travelled together, and can be held up."""

    def __init__(self, database: Database) -> None:
        self.batches: list[list[NewJob]] = []
        self.held: NewJob | None = None
        self.gate = asyncio.Event()
        self._database = database
        self._lane = Lane(database)

    async def __call__(self, jobs: Sequence[NewJob]) -> Sequence[EnqueueJobResult]:
        self.batches.append(list(jobs))
        if list(jobs) == [self.held]:
            await self.gate.wait()
        return await perform(inserts.insert(jobs), self._run)

    async def _run(self, query: Query) -> Sequence[Row]:
        rows = await self._lane.fetch(self._database.statement(query.statement), query.args)
        return cast("Sequence[Row]", rows)

    async def holding(self) -> bool:
        """Whether the held job is on its way, by itself."""
        return bool(self.batches) and self.batches[-1] == [self.held]

    async def close(self) -> None:
        await self._lane.close()


@pytest.fixture
async def lane(settings: DatabaseSettings) -> AsyncIterator[Recording]:
    """A recording way to insert."""
    database = Database(settings)
    lane = Recording(database)
    yield lane
    await lane.close()
    await database.close()


def as_insert(lane: Recording) -> Insert:
    """The same, as the batcher takes it."""
    return lane.__call__


def job(number: int = 0, payload: object | None = None) -> NewJob:
    """A job with a number."""
    return new_job("work", {"n": number} if payload is None else payload)


def refused() -> NewJob:
    """A job that the database refuses."""
    return msgspec.structs.replace(job(), payload="{")


async def test_a_lone_job_is_sent_at_once_by_itself(lane: Recording, sql: SQL) -> None:
    batcher = Batcher([as_insert(lane)])

    result = await batcher.insert(job())

    assert [len(batch) for batch in lane.batches] == [1]
    assert await sql.fetchval("SELECT id FROM control_plane.jobs") == result.id


async def test_what_arrives_while_a_statement_is_under_way_is_sent_by_the_next(
    lane: Recording, sql: SQL
) -> None:
    batcher = Batcher([as_insert(lane)])
    jobs = [job(number) for number in range(500)]

    results = await asyncio.gather(*(batcher.insert(one) for one in jobs))

    assert [len(batch) for batch in lane.batches] == [1, 499]
    assert [result.id for result in results] == [one.id for one in jobs]
    assert await count_jobs(sql) == 500


async def test_a_batch_is_bounded_in_jobs_and_in_bytes(lane: Recording, sql: SQL) -> None:
    batcher = Batcher([as_insert(lane)])
    heavy = {"text": "x" * 1_000_000}

    await asyncio.gather(*(batcher.insert(job(number)) for number in range(MAX_BATCH + 300)))
    await asyncio.gather(*(batcher.insert(job(payload=heavy)) for _ in range(10)))

    assert [len(batch) for batch in lane.batches] == [1, MAX_BATCH, 299, 1, 4, 4, 1]
    assert await count_jobs(sql) == MAX_BATCH + 310


async def test_two_lanes_are_filled_in_turns(settings: DatabaseSettings, sql: SQL) -> None:
    database = Database(settings)
    lanes = [Recording(database), Recording(database)]
    batcher = Batcher([as_insert(lane) for lane in lanes])

    await asyncio.gather(*(batcher.insert(job(number)) for number in range(300)))

    assert all(lane.batches for lane in lanes)
    assert sum(len(batch) for lane in lanes for batch in lane.batches) == await count_jobs(sql) == 300
    for lane in lanes:
        await lane.close()
    await database.close()


async def test_a_job_that_the_database_refuses_does_not_take_its_neighbours_with_it(
    lane: Recording, sql: SQL
) -> None:
    batcher = Batcher([as_insert(lane)])
    jobs = [job(number) for number in range(20)]
    jobs[7], jobs[13] = refused(), refused()

    results = await asyncio.gather(*(batcher.insert(one) for one in jobs), return_exceptions=True)

    assert [number for number, result in enumerate(results) if isinstance(result, StatementError)] == [7, 13]
    assert [result.id for result in results if isinstance(result, EnqueueJobResult)] == [
        one.id for number, one in enumerate(jobs) if number not in (7, 13)
    ]
    assert await count_jobs(sql) == 18


async def test_a_caller_who_gives_up_does_not_disturb_the_others(lane: Recording, sql: SQL) -> None:
    batcher = Batcher([as_insert(lane)])
    jobs = [job(number) for number in range(10)]
    lane.held = jobs[0]
    callers = [asyncio.create_task(batcher.insert(one)) for one in jobs]
    await until(lane.holding)

    for caller in callers[3:6]:
        caller.cancel()
    lane.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)

    assert [isinstance(result, asyncio.CancelledError) for result in results] == [
        3 <= n < 6 for n in range(10)
    ]
    ids = {row["id"] for row in await sql.fetch("SELECT id FROM control_plane.jobs")}
    assert {result.id for result in results if isinstance(result, EnqueueJobResult)} <= ids
    assert (await batcher.insert(job())).existing is False, "the lane goes on"


async def test_the_first_caller_may_give_up_too(lane: Recording, sql: SQL) -> None:
    """It drives the statement itself; those who wait for the lane get it all the same."""
    batcher = Batcher([as_insert(lane)])
    jobs = [job(number) for number in range(2)]
    lane.held = jobs[0]
    first, second = [asyncio.create_task(batcher.insert(one)) for one in jobs]
    await until(lane.holding)

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first

    assert (await asyncio.wait_for(second, 10)).id == jobs[1].id
    assert await count_jobs(sql) == 1


async def test_a_caller_who_gives_up_while_a_refused_batch_is_sent_singly_does_not_strand_the_others(
    lane: Recording, sql: SQL
) -> None:
    batcher = Batcher([as_insert(lane)])
    jobs = [job(number) for number in range(6)]
    jobs[2] = refused()
    lane.held = jobs[1]
    callers = [asyncio.create_task(batcher.insert(one)) for one in jobs]
    await until(lane.holding)

    callers[1].cancel()
    lane.gate.set()
    results = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 10)

    assert [type(result) for result in results] == [
        EnqueueJobResult,
        asyncio.CancelledError,
        StatementError,
        EnqueueJobResult,
        EnqueueJobResult,
        EnqueueJobResult,
    ]
    assert await count_jobs(sql) == 5, "what was sent for the one who gave up is written; it may ask again"


async def test_a_server_that_is_away_is_away_for_the_whole_batch_at_once(settings: DatabaseSettings) -> None:
    """Not for one job after the other, each with the patience of its own."""
    patience = timedelta(seconds=0.5)
    async with JobQueue(
        settings=replace(settings, url="postgresql://127.0.0.1:1/none", patience=patience)
    ) as queue:
        results = await asyncio.wait_for(
            asyncio.gather(*(queue.enqueue("work") for _ in range(200)), return_exceptions=True), 10
        )

    assert all(isinstance(result, DatabaseUnavailableError) for result in results)


async def test_a_client_sends_many_enqueues_in_few_statements(queue: JobQueue, sql: SQL) -> None:
    """Each transaction has an id of its own: as many as there were commits."""
    await asyncio.gather(*(queue.enqueue("work", {"n": number}) for number in range(2000)))

    commits = await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM control_plane.jobs")
    assert commits < 20
    assert await count_jobs(sql) == 2000
