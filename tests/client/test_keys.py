"""Enqueueing the same thing twice: ids, idempotency keys (I2) and unique keys (I15)."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from jobplane import EnqueueJobResult, JobQueue, JobQueueOptions, JobStatus, new_job
from jobplane.ids import id_from_key, new_job_id
from tests.factories import SQL, count_jobs, make_job

JOB_ID = new_job_id()
SAME: list[JobQueueOptions] = [{"id": JOB_ID}, {"idempotency_key": "order-1"}, {"unique_key": "order-1"}]
the_same = pytest.mark.parametrize("options", SAME, ids=[next(iter(options)) for options in SAME])


@the_same
async def test_given_twice_it_makes_one_job_and_returns_the_same_flagged(
    queue: JobQueue, sql: SQL, options: JobQueueOptions
) -> None:
    """I2, I15."""
    first = await queue.enqueue("work", {"n": 1}, **options)
    second = await queue.enqueue("work", {"n": 2}, **options)
    third = await asyncio.to_thread(lambda: queue.sync.enqueue("work", {"n": 3}, **options))

    assert [result.id for result in (second, third)] == [first.id] * 2
    assert [result.existing for result in (first, second, third)] == [False, True, True]
    assert await count_jobs(sql) == 1
    job = await queue.get_job(first.id)
    assert job is not None
    assert job.payload == {"n": 1}


async def test_a_plain_job_given_twice_is_one_job_and_flagged(queue: JobQueue, sql: SQL) -> None:
    """I2: as when the answer of the first try was lost. Also where each is sent by itself, without a look at what is there."""
    job = new_job("work", {"n": 1})
    assert job.is_plain

    first, second = await queue.enqueue_new(job), await queue.enqueue_new(job)
    third = await asyncio.to_thread(queue.sync.enqueue_new, job)

    assert [result.existing for result in (first, second, third)] == [False, True, True]
    assert second == replace(first, existing=True) == third
    assert await count_jobs(sql) == 1


async def test_a_plain_job_is_answered_as_any_other(queue: JobQueue) -> None:
    plain = await queue.enqueue("work", {}, queue="q", priority=7, max_attempts=9)
    other = await queue.enqueue("work", {}, queue="q", priority=7, max_attempts=9, tags=[])
    jobs = [await queue.get_job(result.id) for result in (plain, other)]

    for result, job in zip((plain, other), jobs, strict=True):
        assert job is not None
        assert result == EnqueueJobResult(job.id, job.type, job.status, job.scheduled_at, job.created_at)
        assert (job.queue, job.priority, job.max_attempts) == ("q", 7, 9)
        assert job.payload == {"priority": 7}
        assert job.scheduled_at == job.created_at


@the_same
async def test_fifty_at_once_make_one_job(queue: JobQueue, sql: SQL, options: JobQueueOptions) -> None:
    """I2, I15: all get its id, and exactly one is told that it made it."""
    results = await asyncio.gather(*(queue.enqueue("work", {"n": n}, **options) for n in range(50)))

    assert len({result.id for result in results}) == 1
    assert [result.existing for result in results].count(False) == 1
    assert await count_jobs(sql) == 1


@the_same
async def test_fifty_in_one_statement_make_one_job(
    queue: JobQueue, sql: SQL, options: JobQueueOptions
) -> None:
    """I2, I15: while other jobs are being written, the calls gather and travel together."""
    others = [queue.enqueue("other") for _ in range(5)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", {"n": n}, **options) for n in range(50)))

    assert len({result.id for result in results[5:]}) == 1
    assert [result.existing for result in results[5:]].count(False) == 1
    assert await count_jobs(sql) == 6


@the_same
async def test_fifty_at_once_over_many_connections_make_one_job(
    database_url: str, sql: SQL, options: JobQueueOptions
) -> None:
    """I2, I15: nothing gathers these calls into one statement."""

    def enqueue(number: int) -> EnqueueJobResult:
        return queue.enqueue("work", {"n": number}, **options)

    with JobQueue(database_url).sync as queue, ThreadPoolExecutor(10) as pool:
        results = await asyncio.to_thread(lambda: list(pool.map(enqueue, range(50))))

    assert len({result.id for result in results}) == 1
    assert [result.existing for result in results].count(False) == 1
    assert await count_jobs(sql) == 1


@pytest.mark.parametrize("status", JobStatus)
async def test_an_idempotency_key_returns_its_job_whatever_became_of_it(
    queue: JobQueue, sql: SQL, status: JobStatus
) -> None:
    """I2."""
    await make_job(sql, status, id=id_from_key("k"), type="first")

    result = await queue.enqueue("second", idempotency_key="k")

    assert (result.id, result.type, result.status, result.existing) == (
        id_from_key("k"),
        "first",
        status,
        True,
    )
    assert await count_jobs(sql) == 1


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
async def test_a_unique_key_returns_the_unfinished_job_that_holds_it(
    queue: JobQueue, sql: SQL, status: JobStatus
) -> None:
    """I15."""
    holder = await make_job(sql, status, unique_key="k", type="first")

    result = await queue.enqueue("second", unique_key="k")

    assert (result.id, result.type, result.status, result.existing) == (holder, "first", status, True)


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
async def test_a_unique_key_is_free_again_when_its_job_has_ended(
    queue: JobQueue, sql: SQL, status: JobStatus
) -> None:
    """I15: at most one unfinished job, one after the other as many as you like."""
    ended = await make_job(sql, status, unique_key="k")

    result = await queue.enqueue("work", unique_key="k")

    assert not result.existing
    assert result.id != ended
    assert await count_jobs(sql) == 2


async def test_keys_that_differ_make_jobs_of_their_own(queue: JobQueue, sql: SQL) -> None:
    results = await asyncio.gather(
        *(queue.enqueue("work", unique_key=f"k{n}") for n in range(20)),
        *(queue.enqueue("work", idempotency_key=f"k{n}") for n in range(20)),
    )

    assert len({result.id for result in results}) == 40
    assert not any(result.existing for result in results)
    assert await count_jobs(sql) == 40


async def test_an_existing_job_does_not_disturb_those_enqueued_beside_it(queue: JobQueue, sql: SQL) -> None:
    """They travel in one statement."""
    await make_job(sql, unique_key="taken")
    keys = ["taken", "a", "b", "a", "taken", "c"]

    results = await asyncio.gather(*(queue.enqueue("work", unique_key=key) for key in keys))

    assert sum(result.existing for result in results) == 3
    assert results[1].id == results[3].id
    assert await count_jobs(sql) == 4


async def test_of_one_statement_the_first_with_a_key_is_written(queue: JobQueue, sql: SQL) -> None:
    """I15: the others get it, also those that share only an id with it."""
    mine = new_job_id()
    wishes: list[JobQueueOptions] = [
        {"id": mine, "unique_key": "k"},
        {"unique_key": "k"},
        {"id": mine},
        {"unique_key": "l"},
    ]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert [result.id == mine for result in results[3:]] == [True, True, True, False]
    assert [result.existing for result in results[3:]] == [False, True, True, False]
    assert await count_jobs(sql) == 5


async def test_a_key_is_free_though_one_of_the_statement_names_a_job_that_ended_with_it(
    queue: JobQueue, sql: SQL
) -> None:
    """I1, I15: the others get a job of their own, not the one that will never run."""
    ended = await make_job(sql, JobStatus.COMPLETED)
    wishes: list[JobQueueOptions] = [
        {"id": ended, "unique_key": "k"},
        {"unique_key": "k"},
        {"unique_key": "k"},
    ]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert (results[3].id, results[3].existing) == (ended, True)
    assert results[4].id == results[5].id != ended
    assert [result.existing for result in results[4:]] == [False, True]
    assert await count_jobs(sql) == 5


async def test_a_key_is_free_though_one_of_the_statement_names_a_job_that_waits_without_it(
    queue: JobQueue, sql: SQL
) -> None:
    """I1, I15: the wish that finds an older job under its id takes no key, so the next one with the key is written."""
    waiting = await make_job(sql)
    wishes: list[JobQueueOptions] = [
        {"id": waiting, "unique_key": "k"},
        {"unique_key": "k"},
        {"unique_key": "k"},
    ]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert (results[3].id, results[3].existing) == (waiting, True)
    assert results[4].id == results[5].id != waiting
    assert [result.existing for result in results[4:]] == [False, True]


async def test_an_idempotency_key_finds_its_job_though_its_unique_key_is_taken_in_the_same_statement(
    queue: JobQueue, sql: SQL
) -> None:
    """I2: the same key is always answered with the same id."""
    made = await queue.enqueue("work", idempotency_key="order-1")
    wishes: list[JobQueueOptions] = [{"unique_key": "k"}, {"unique_key": "k", "idempotency_key": "order-1"}]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert [result.existing for result in results[3:]] == [False, True]
    assert results[4].id == made.id != results[3].id


async def test_an_id_is_free_though_the_first_with_it_found_another_job_by_its_key(
    queue: JobQueue, sql: SQL
) -> None:
    """I1."""
    holder, mine = await make_job(sql, unique_key="k"), new_job_id()
    wishes: list[JobQueueOptions] = [{"id": mine, "unique_key": "k"}, {"id": mine}, {"id": mine}]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert [result.id for result in results[3:]] == [holder, mine, mine]
    assert [result.existing for result in results[3:]] == [True, False, True]


async def test_only_what_is_written_holds_its_key_and_its_id_for_the_rest_of_the_statement(
    queue: JobQueue, sql: SQL
) -> None:
    """I1: a wish that finds its twin in the same statement is not written, so it stands in nobody's way."""
    first, second = new_job_id(), new_job_id()
    wishes: list[JobQueueOptions] = [
        {"id": first},
        {"id": first, "unique_key": "k"},  # found by its id: nobody holds k yet
        {"unique_key": "k"},
        {"id": second, "unique_key": "k"},  # found by its key: nobody has this id yet
        {"id": second},
    ]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert [result.existing for result in results[3:]] == [False, True, False, True, False]
    assert (results[4].id, results[6].id, results[7].id) == (first, results[5].id, second)
    assert await count_jobs(sql) == 6


async def test_the_holder_of_a_key_is_its_unfinished_job_not_an_ended_one_that_is_named_beside_it(
    queue: JobQueue, sql: SQL
) -> None:
    """I15: whichever of the two is older."""
    ended = [await make_job(sql, JobStatus.COMPLETED, unique_key="k")]
    holders = [await make_job(sql, unique_key="k"), await make_job(sql, unique_key="l")]
    ended.append(await make_job(sql, JobStatus.COMPLETED, unique_key="l"))
    wishes: list[JobQueueOptions] = [
        {"id": ended[0]},
        {"id": ended[1]},
        {"unique_key": "k"},
        {"unique_key": "l"},
    ]
    others = [queue.enqueue("other") for _ in range(3)]

    results = await asyncio.gather(*others, *(queue.enqueue("work", **options) for options in wishes))

    assert [result.id for result in results[3:]] == ended + holders
    assert all(result.existing for result in results[3:])


async def test_a_key_that_changes_hands_all_the_time_is_never_held_twice(queue: JobQueue, sql: SQL) -> None:
    """I15: enqueueing races with the ends of the jobs that hold the key."""
    stop = asyncio.Event()

    async def end_all() -> None:
        while not stop.is_set():
            await sql.execute("UPDATE control_plane.jobs SET status = 'completed' WHERE status = 'pending'")

    ending = asyncio.create_task(end_all())
    results = [await queue.enqueue("work", unique_key="k") for _ in range(60)]
    results += await asyncio.gather(*(queue.enqueue("work", unique_key="k") for _ in range(60)))
    stop.set()
    await ending

    made = {result.id for result in results if not result.existing}
    assert made == {result.id for result in results}
    assert await count_jobs(sql) == len(made)
