"""enqueue_many: any number of jobs by COPY, in constant memory, all or none."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import asyncpg
import psycopg
import pytest

from jobplane import Fixed, InvalidInputError, JobQueue, NewJob, SchemaError, new_job
from jobplane.errors import StatementError
from jobplane.ids import new_job_id
from jobplane.sql import channel
from tests.factories import SQL, count_jobs, make_job, row_of
from tests.support import until


def jobs(count: int) -> Iterator[NewJob]:
    """Jobs one by one, as a generator hands them out."""
    for number in range(count):
        yield new_job("work", {"n": number})


async def jobs_async(count: int) -> AsyncIterator[NewJob]:
    """The same, for `async for`."""
    for job in jobs(count):
        yield job


async def write(queue: JobQueue, client: str, jobs: Iterable[NewJob]) -> int:
    """Write jobs with one of the two clients."""
    if client == "async":
        return await queue.enqueue_many(jobs)
    return await asyncio.to_thread(queue.sync.enqueue_many, jobs)


async def test_twenty_thousand_jobs_are_written_in_one_transaction(queue: JobQueue, sql: SQL) -> None:
    assert await queue.enqueue_many(jobs(20_000)) == 20_000

    assert await count_jobs(sql) == 20_000
    assert (
        await sql.fetchval("SELECT count(DISTINCT (payload ->> 'n')::int) FROM control_plane.jobs") == 20_000
    )
    assert await sql.fetchval("SELECT count(DISTINCT xmin::text) FROM control_plane.jobs") == 1


@pytest.mark.parametrize("source", ["list", "generator", "async generator", "nothing"])
async def test_any_iterable_is_taken(queue: JobQueue, sql: SQL, source: str) -> None:
    sources: dict[str, Iterable[NewJob] | AsyncIterable[NewJob]] = {
        "list": list(jobs(3)),
        "generator": jobs(3),
        "async generator": jobs_async(3),
        "nothing": (),
    }

    count = await queue.enqueue_many(sources[source])

    assert count == await count_jobs(sql) == (0 if source == "nothing" else 3)


async def test_any_iterable_is_taken_by_the_synchronous_client(queue: JobQueue, sql: SQL) -> None:
    def use() -> list[int]:
        return [queue.sync.enqueue_many(given) for given in (list(jobs(3)), jobs(2), ())]

    assert await asyncio.to_thread(use) == [3, 2, 0]
    assert await count_jobs(sql) == 5


@pytest.mark.parametrize("client", ["async", "sync"])
async def test_every_option_reaches_the_row(queue: JobQueue, sql: SQL, client: str) -> None:
    due = datetime.now(UTC) + timedelta(days=2)
    text = "tab\t newline\n backslash\\N quote\" brace{},☃ '"
    full = new_job(
        "work",
        {"text": text, "n": 2**100},
        {
            "queue": "q",
            "priority": 7,
            "max_attempts": 9,
            "unique_key": text.replace("\t", "").replace("\n", ""),
            "tags": ["a", 'b"{},\\', "NULL", "☃"],
            "retry": Fixed(timedelta(seconds=5)),
            "scheduled_at": due,
        },
    )
    later = new_job("work", {}, {"delay": 90, "tags": []})

    await write(queue, client, [full, later])

    row = await row_of(sql, full.id)
    assert (row["queue"], row["priority"], row["max_attempts"], row["unique_key"]) == (
        "q",
        7,
        9,
        full.unique_key,
    )
    assert (row["tags"], row["scheduled_at"]) == (["a", 'b"{},\\', "NULL", "☃"], due)
    assert json.loads(row["payload"]) == {"text": text, "n": 2**100, "priority": 7}
    assert json.loads(row["retry_policy"]) == {"kind": "fixed", "seconds": [5.0]}
    other = await row_of(sql, later.id)
    assert timedelta(seconds=89) < other["scheduled_at"] - other["created_at"] <= timedelta(seconds=90)
    assert (other["tags"], other["unique_key"], other["retry_policy"]) == ([], None, None)


@pytest.mark.parametrize("client", ["async", "sync"])
async def test_memory_stays_the_same_however_many_jobs(queue: JobQueue, sql: SQL, client: str) -> None:
    """5,000 payloads of 16 KiB are 80 MB; no more than a few of them are held at once."""

    def heavy(count: int) -> Iterator[NewJob]:
        for number in range(count):
            yield new_job("work", {"n": number, "text": "x" * 16384})

    await write(queue, client, heavy(100))
    gc.collect()
    tracemalloc.start()
    try:
        assert await write(queue, client, heavy(5000)) == 5000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert await count_jobs(sql) == 5100
    assert peak < 8_000_000


@pytest.mark.parametrize("client", ["async", "sync"])
async def test_a_source_that_fails_leaves_nothing_and_its_error_is_raised(
    queue: JobQueue, sql: SQL, client: str
) -> None:
    def failing() -> Iterator[NewJob]:
        yield from jobs(5000)
        yield new_job("not a type", {})

    with pytest.raises(InvalidInputError, match="type must be"):
        await write(queue, client, failing())

    assert await count_jobs(sql) == 0
    assert await queue.enqueue_many(jobs(2)) == 2, "the connection is as good as before"


async def test_an_async_source_that_fails_leaves_nothing(queue: JobQueue, sql: SQL) -> None:
    async def failing() -> AsyncIterator[NewJob]:
        async for job in jobs_async(5000):
            yield job
        raise LookupError("the file ended")

    with pytest.raises(LookupError, match="the file ended"):
        await queue.enqueue_many(failing())

    assert await count_jobs(sql) == 0
    assert await queue.enqueue_many(jobs(2)) == 2


@pytest.mark.parametrize("client", ["async", "sync"])
@pytest.mark.parametrize("twin", ["id", "unique_key"])
async def test_a_job_that_exists_already_makes_all_fail_with_its_cause(
    queue: JobQueue, sql: SQL, twin: str, client: str
) -> None:
    job_id = await make_job(sql, unique_key="k")
    many = [*jobs(1500), new_job("work", {}, {"id": job_id} if twin == "id" else {"unique_key": "k"})]

    with pytest.raises(StatementError, match="enqueue_many: duplicate key") as caught:
        await write(queue, client, many)

    assert isinstance(caught.value.__cause__, asyncpg.UniqueViolationError | psycopg.errors.UniqueViolation)
    assert await count_jobs(sql) == 1


async def test_cancelled_halfway_it_leaves_nothing(queue: JobQueue, sql: SQL) -> None:
    reached = asyncio.Event()

    async def endless() -> AsyncIterator[NewJob]:
        async for job in jobs_async(3000):
            yield job
        reached.set()
        await asyncio.Event().wait()

    writing = asyncio.create_task(queue.enqueue_many(endless()))
    await reached.wait()
    writing.cancel()

    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await count_jobs(sql) == 0
    assert await queue.enqueue_many(jobs(2)) == 2


async def test_a_missing_schema_says_what_to_do(empty_database_url: str) -> None:
    async with JobQueue(empty_database_url) as queue:
        with pytest.raises(SchemaError, match="run jobplane migrate up"):
            await queue.enqueue_many(jobs(1))
        with pytest.raises(SchemaError, match="run jobplane migrate up"):
            await asyncio.to_thread(queue.sync.enqueue_many, jobs(1))


@pytest.mark.parametrize("client", ["async", "sync"])
async def test_the_workers_of_each_queue_are_woken_once(queue: JobQueue, sql: SQL, client: str) -> None:
    heard: list[str] = []
    await sql.add_listener(channel("control_plane"), lambda *args: heard.append(str(args[3])))
    many = [new_job("work", {}, {"queue": name}) for name in ("a", "b") * 50]

    await write(queue, client, many)

    async def both() -> bool:
        return len(heard) >= 2

    await until(both)
    assert sorted(heard) == ["a", "b"]


async def test_the_ids_are_those_of_the_jobs_given(queue: JobQueue, sql: SQL) -> None:
    mine = new_job_id()

    await queue.enqueue_many([new_job("work", {}, {"id": mine})])

    assert await sql.fetchval("SELECT id FROM control_plane.jobs") == mine
