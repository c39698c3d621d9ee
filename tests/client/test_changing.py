"""retry, cancel, pause and resume: what each changes, and the error of each that cannot."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import cast
from uuid import UUID

import pytest

from jobplane import (
    AttemptsExhaustedError,
    CancelResult,
    InvalidInputError,
    JobNotFoundError,
    JobQueue,
    JobStateError,
    JobStatus,
    UniqueKeyTakenError,
)
from jobplane.ids import new_job_id
from jobplane.sql import channel
from tests.factories import SQL, make_job, row_of
from tests.support import until

ENDED = [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED]


@pytest.fixture
async def heard(sql: SQL) -> list[str]:
    """What workers hear."""
    heard: list[str] = []
    await sql.add_listener(channel("control_plane"), lambda *args: heard.append(str(args[3])))
    return heard


async def hears(heard: list[str], word: str) -> None:
    """Wait until workers were told."""

    async def told() -> bool:
        return word in heard

    await until(told)


@pytest.mark.parametrize("status", ENDED)
async def test_an_ended_job_can_be_retried_and_its_workers_are_woken(
    queue: JobQueue, sql: SQL, heard: list[str], status: JobStatus
) -> None:
    """I10."""
    job_id = await make_job(sql, status, queue="mail", scheduled_at=timedelta(days=-2))

    await queue.retry(job_id)

    row = await row_of(sql, job_id)
    assert (row["status"], row["completed_at"]) == ("pending", None)
    assert await sql.fetchval("SELECT now() - scheduled_at < interval '1 minute' FROM control_plane.jobs")
    await hears(heard, "mail")


async def test_a_job_whose_attempts_are_used_up_needs_more_granted(queue: JobQueue, sql: SQL) -> None:
    """It neither fails silently nor loops."""
    job_id = await make_job(sql, JobStatus.FAILED, attempts=3, max_attempts=3)

    with pytest.raises(
        AttemptsExhaustedError, match="has used 3 of 3 attempts: grant more with extra_attempts=1"
    ):
        await queue.retry(job_id)
    assert (await row_of(sql, job_id))["status"] == "failed"
    await queue.retry(job_id, extra_attempts=2)

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"], row["max_attempts"]) == ("pending", 3, 5)


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
async def test_an_unfinished_job_cannot_be_retried(queue: JobQueue, sql: SQL, status: JobStatus) -> None:
    job_id = await make_job(sql, status)

    with pytest.raises(
        JobStateError, match=f"is {status}: only completed, failed or cancelled jobs can be retried"
    ):
        await queue.retry(job_id)


async def test_a_job_whose_unique_key_is_taken_cannot_be_retried(queue: JobQueue, sql: SQL) -> None:
    """I15."""
    job_id = await make_job(sql, JobStatus.FAILED, unique_key="k")
    holder = await make_job(sql, unique_key="k")

    with pytest.raises(UniqueKeyTakenError, match="another unfinished job holds its unique key"):
        await queue.retry(job_id)
    with pytest.raises(UniqueKeyTakenError):
        await asyncio.to_thread(queue.sync.retry, job_id)
    await sql.execute("UPDATE control_plane.jobs SET status = 'completed' WHERE id = $1", holder)
    await queue.retry(job_id)

    assert (await row_of(sql, job_id))["status"] == "pending"


@pytest.mark.parametrize("extra", [-1, 101, "2", 1.5, True])
async def test_extra_attempts_outside_their_limit_are_refused(queue: JobQueue, sql: SQL, extra: int) -> None:
    job_id = await make_job(sql, JobStatus.FAILED)

    with pytest.raises(InvalidInputError, match="extra_attempts must be a whole number from 0 to 100"):
        await queue.retry(job_id, extra_attempts=extra)

    assert (await row_of(sql, job_id))["status"] == "failed"


async def test_a_retried_job_is_as_often_retried_as_it_was_asked_for(queue: JobQueue, sql: SQL) -> None:
    """I10: of many calls at once, one makes the transition; the others are told that it is pending."""
    job_id = await make_job(sql, JobStatus.FAILED)

    results = await asyncio.gather(*(queue.retry(job_id) for _ in range(20)), return_exceptions=True)

    assert results.count(None) == 1
    assert sum(isinstance(result, JobStateError) for result in results) == 19


async def test_a_pending_job_is_cancelled_at_once(queue: JobQueue, sql: SQL) -> None:
    """I12."""
    job_id = await make_job(sql)

    assert await queue.cancel(job_id) is CancelResult.CANCELLED
    assert await queue.cancel(job_id) is CancelResult.CANCELLED, "asking again is fine"

    assert (await row_of(sql, job_id))["status"] == "cancelled"


async def test_a_running_job_is_asked_to_stop_and_its_worker_is_told(
    queue: JobQueue, sql: SQL, heard: list[str]
) -> None:
    """I12."""
    job_id = await make_job(sql, JobStatus.RUNNING)

    assert await queue.cancel(job_id) is CancelResult.REQUESTED

    row = await row_of(sql, job_id)
    assert row["status"] == "running"
    assert row["cancel_requested_at"] is not None
    await hears(heard, f"cancel:{job_id}")


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED])
async def test_an_ended_job_cannot_be_cancelled(queue: JobQueue, sql: SQL, status: JobStatus) -> None:
    job_id = await make_job(sql, status)

    with pytest.raises(JobStateError, match=f"has {status} already"):
        await queue.cancel(job_id)


async def test_a_cancelled_job_can_be_retried_and_cancelled_again(queue: JobQueue, sql: SQL) -> None:
    job_id = await make_job(sql)

    await queue.cancel(job_id)
    await queue.retry(job_id)
    assert (await row_of(sql, job_id))["cancel_requested_at"] is None
    assert await queue.cancel(job_id) is CancelResult.CANCELLED


async def test_a_job_that_does_not_exist_is_named_in_the_error(queue: JobQueue) -> None:
    missing = new_job_id()

    for attempt in (queue.retry(missing), queue.cancel(missing), queue.wait(missing, 1)):
        with pytest.raises(JobNotFoundError, match=f"no job {missing}"):
            await attempt
    for call in (queue.sync.retry, queue.sync.cancel, queue.sync.wait):
        with pytest.raises(JobNotFoundError, match=f"no job {missing}"):
            await asyncio.to_thread(call, missing)


@pytest.mark.parametrize("wrong", ["01900000-0000-7000-8000-000000000000", None, 7])
async def test_an_id_that_is_no_uuid_is_refused(queue: JobQueue, wrong: object) -> None:
    for operation in (queue.get_job, queue.retry, queue.cancel, queue.wait, queue.list_attempts):
        with pytest.raises(InvalidInputError, match=r"id must be a uuid\.UUID"):
            await operation(cast("UUID", wrong))


async def test_a_paused_queue_shows_it_and_resuming_wakes_its_workers(
    queue: JobQueue, heard: list[str]
) -> None:
    await queue.pause_queue("mail")
    (paused,) = await queue.list_queues()
    await queue.resume_queue("mail")
    (resumed,) = await queue.list_queues()

    assert (paused.name, resumed.name) == ("mail", "mail")
    assert paused.paused_at is not None
    assert resumed.paused_at is None
    await hears(heard, "mail")


@pytest.mark.parametrize("name", ["", "a b", "x" * 101, "a\0"])
async def test_a_queue_name_outside_its_limit_is_refused(queue: JobQueue, name: str) -> None:
    for attempt in (queue.pause_queue(name), queue.resume_queue(name)):
        with pytest.raises(InvalidInputError, match="queue must be"):
            await attempt


async def test_a_limit_is_set_changed_and_lifted_and_workers_hear_of_it(
    queue: JobQueue, sql: SQL, heard: list[str]
) -> None:
    for most in (3, 1, None):
        heard.clear()
        await queue.limit_queue("mail", most)

        await hears(heard, "limit:mail")
        assert await sql.fetchval("SELECT max_running FROM control_plane.queues") == most
    await asyncio.to_thread(queue.sync.limit_queue, "mail", 7)
    (info,) = await queue.list_queues()
    assert (info.name, info.max_running, info.paused_at) == ("mail", 7, None)


@pytest.mark.parametrize("wrong", [0, -1, 100_001, True, "3", 2.5])
async def test_a_limit_outside_of_its_bounds_is_refused_before_anything_is_written(
    queue: JobQueue, sql: SQL, wrong: object
) -> None:
    with pytest.raises(InvalidInputError, match="max_running must be a whole number from 1 to 100000"):
        await queue.limit_queue("mail", cast("int", wrong))
    with pytest.raises(InvalidInputError, match="queue must be"):
        await queue.limit_queue("no name", 3)

    assert await sql.fetchval("SELECT count(*) FROM control_plane.queues") == 0


async def test_a_limit_and_a_pause_leave_one_another_alone(queue: JobQueue) -> None:
    await queue.limit_queue("mail", 3)
    await queue.pause_queue("mail")
    await queue.limit_queue("mail", 4)
    await queue.resume_queue("mail")

    (info,) = await queue.list_queues()
    assert (info.max_running, info.paused_at) == (4, None)
