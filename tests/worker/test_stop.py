"""I23: a worker stops in order: nothing new, a grace period, then its jobs go back to be claimed at once."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from jobplane import JobContext, JobQueue, JobStatus, Snooze, Worker
from jobplane.events import JobStarted, WorkerStarted, WorkerStopped, WorkerStopping
from tests.factories import SQL, attempts_of, row_of
from tests.support import SLACK, Recorder, until


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """What hanging synchronous handlers wait for; set at the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


async def test_jobs_that_finish_within_the_grace_are_completed_and_none_is_claimed_meanwhile(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    finish = asyncio.Event()

    @queue.task
    async def work() -> str:
        await finish.wait()
        return "in time"

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobStarted, WorkerStarted, WorkerStopping, WorkerStopped)
    await worker.start()
    await recorder.wait_for(JobStarted)

    stopping = asyncio.create_task(worker.stop(grace=30))
    await recorder.wait_for(WorkerStopping)
    late = await work.enqueue()
    finish.set()
    await stopping

    job = await queue.get_job(made.id)
    assert job is not None
    assert (job.status, job.result) == (JobStatus.COMPLETED, "in time")
    row = await row_of(sql, late.id)
    assert (row["status"], row["attempts"]) == ("pending", 0)
    assert [type(event) for event in recorder.seen] == [
        WorkerStarted,
        JobStarted,
        WorkerStopping,
        WorkerStopped,
    ]
    assert (recorder.of(WorkerStopping)[0].running, recorder.of(WorkerStopped)[0].released) == (1, 0)


async def test_jobs_that_outlast_the_grace_go_back_at_once_their_attempt_spent(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task(max_attempts=3)
    async def work(ctx: JobContext) -> int:
        if ctx.epoch == 1:
            await asyncio.Event().wait()
        return ctx.epoch

    made = await work.enqueue()
    worker, successor = make_worker(queue, lease=60), make_worker(queue, poll_interval=60)
    recorder = Recorder(worker.events, JobStarted, WorkerStopped)
    await worker.start()
    await recorder.wait_for(JobStarted)
    await successor.start()
    await until(lambda: _knows(queue, successor.id))

    before = time.monotonic()
    await worker.stop(grace=0.1)
    took = time.monotonic() - before
    job = await queue.wait(made.id, 10)  # woken by a notification: it polls once a minute

    assert took < (0.1 + 1) * SLACK
    assert (job.status, job.result, job.attempts) == (JobStatus.COMPLETED, 2, 2)
    assert recorder.of(WorkerStopped)[0].released == 1
    (interrupted,) = await attempts_of(sql, made.id)
    assert (interrupted["outcome"], interrupted["epoch"]) == ("interrupted", 1)


@pytest.mark.parametrize("limit", ["max_attempts", "at_most_once"])
async def test_a_job_that_may_run_only_once_is_failed_when_it_is_interrupted(
    queue: JobQueue, make_worker: Callable[..., Worker], limit: str
) -> None:
    @queue.task(max_attempts=1, at_most_once=limit == "at_most_once")
    async def work() -> None:
        await asyncio.Event().wait()

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobStarted)
    await worker.start()
    await recorder.wait_for(JobStarted)

    await worker.stop(grace=0)

    job = await queue.get_job(made.id)
    assert job is not None
    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert job.last_error == "Interrupted: its worker was stopped before the handler ended"


async def test_a_job_that_waits_in_its_worker_goes_back_as_if_nothing_had_happened(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    finish = asyncio.Event()

    @queue.task(max_attempts=1)
    async def work() -> None:
        await finish.wait()

    first, second = await work.enqueue(), await work.enqueue()
    worker = make_worker(queue, queues="default:1")
    worker.slots["default"].pace = 1000.0  # as after many quick jobs: claim ahead
    await worker.start()
    await until(lambda: _status_is(sql, second.id, "running"))

    stopping = asyncio.create_task(worker.stop(grace=30))
    await until(lambda: _status_is(sql, second.id, "pending"))
    finish.set()
    await stopping

    row = await row_of(sql, second.id)
    assert (row["status"], row["attempts"], row["last_error"]) == ("pending", 0, None)
    assert await attempts_of(sql, second.id) == []
    assert (await row_of(sql, first.id))["status"] == "completed"


async def test_a_synchronous_handler_that_heeds_its_context_is_over_before_its_job_goes_back(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    running, over = threading.Event(), threading.Event()

    @queue.task
    def work(ctx: JobContext) -> None:
        running.set()
        ctx.wait_cancelled(30)
        over.set()
        ctx.raise_if_cancelled()

    made = await work.enqueue()
    worker = make_worker(queue)
    await worker.start()
    assert await asyncio.to_thread(running.wait, 10)

    stopping = asyncio.create_task(worker.stop(grace=0.1))
    await until(lambda: _status_is(sql, made.id, "pending"))

    assert over.is_set()
    await stopping
    assert (await row_of(sql, made.id))["attempts"] == 1


@pytest.mark.parametrize("limit", ["max_attempts", "at_most_once"])
async def test_a_synchronous_handler_that_still_waits_for_a_thread_goes_back_with_its_only_attempt(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, limit: str
) -> None:
    """I6: it never began, so nothing was spent and nothing may fail."""
    running, calls = threading.Event(), list[str]()

    @queue.task(max_attempts=1, at_most_once=limit == "at_most_once")
    def work(ctx: JobContext, name: str) -> None:
        calls.append(name)
        running.set()
        ctx.wait_cancelled(30)
        ctx.raise_if_cancelled()

    made = [await work.enqueue(name) for name in ("first", "second")]
    worker = make_worker(queue, queues="default:2", threads=1)
    recorder = Recorder(worker.events, JobStarted)
    await worker.start()
    await recorder.wait_for(JobStarted, 2)
    assert await asyncio.to_thread(running.wait, 10)

    await worker.stop(grace=0.1)

    (waited,) = [one.id for one in made if (await row_of(sql, one.id))["status"] == "pending"]
    row = await row_of(sql, waited)
    assert len(calls) == 1
    assert (row["attempts"], row["last_error"], await attempts_of(sql, waited)) == (0, None, [])
    (begun,) = [one.id for one in made if one.id != waited]
    assert (await row_of(sql, begun))["status"] == "failed"


async def test_a_job_of_two_attempts_begins_twice_however_often_it_is_interrupted(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    """I6: "at most n calls", also through any number of deploys; the last one fails and says why."""
    begun: list[int] = []

    @queue.task(max_attempts=2)
    async def work(ctx: JobContext) -> None:
        begun.append(ctx.attempt)
        await asyncio.Event().wait()

    made = await work.enqueue()
    for _ in range(2):
        worker = make_worker(queue)
        recorder = Recorder(worker.events, JobStarted)
        await worker.start()
        await recorder.wait_for(JobStarted)
        await worker.stop(grace=0)

    job = await queue.get_job(made.id)
    assert job is not None
    assert (begun, job.status, job.attempts) == ([1, 2], JobStatus.FAILED, 2)
    assert (job.last_error or "").startswith("Interrupted")


async def test_a_handler_that_snoozes_when_it_is_interrupted_keeps_its_attempt(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """The way for a long handler that can go on where it stopped: its own wish gives the attempt back."""

    @queue.task(max_attempts=1)
    async def work() -> Snooze:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        return Snooze(timedelta(0))

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobStarted)
    await worker.start()
    await recorder.wait_for(JobStarted)
    await worker.stop(grace=0)

    row = await row_of(sql, made.id)
    assert (row["status"], row["attempts"]) == ("pending", 0)


async def test_a_synchronous_handler_that_hangs_does_not_keep_the_worker_from_stopping(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, let_go: threading.Event
) -> None:
    running = threading.Event()

    @queue.task
    def work() -> None:
        running.set()
        let_go.wait()

    made = await work.enqueue()
    worker = make_worker(queue)
    await worker.start()
    assert await asyncio.to_thread(running.wait, 10)

    before = time.monotonic()
    await worker.stop(grace=0.1)

    assert time.monotonic() - before < (0.1 + 1) * SLACK
    assert (await row_of(sql, made.id))["status"] == "pending"


async def test_a_handler_that_ignores_its_cancellation_does_not_keep_the_worker_from_stopping(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    told, release = 0, asyncio.Event()

    @queue.task
    async def stubborn() -> None:
        nonlocal told
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                told += 1

    made = await stubborn.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobStarted)
    await worker.start()
    await recorder.wait_for(JobStarted)

    before = time.monotonic()
    await worker.stop(grace=0.1)
    took = time.monotonic() - before
    release.set()

    assert took < (0.1 + 1) * SLACK
    assert told >= 1
    assert (await row_of(sql, made.id))["status"] == "running", "its lease, not its worker, gives it back"


async def test_outcomes_that_wait_for_the_database_have_the_rest_of_the_grace_to_be_written(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    finish = asyncio.Event()

    @queue.task
    async def work() -> str:
        await finish.wait()
        return "kept"

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobStarted, WorkerStopped)
    await worker.start()
    await recorder.wait_for(JobStarted)

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs FOR UPDATE")
        finish.set()
        stopping = asyncio.create_task(worker.stop(grace=10))
        done, _ = await asyncio.wait({stopping}, timeout=1.5)
        assert not done
    await stopping

    row = await row_of(sql, made.id)
    assert (row["status"], row["result"], row["lease_epoch"]) == ("completed", '"kept"', 1)


async def _knows(queue: JobQueue, worker_id: str) -> bool:
    return any(info.id == worker_id for info in await queue.list_workers())


async def _status_is(sql: SQL, job_id: object, status: str) -> bool:
    found: str = await sql.fetchval("SELECT status FROM control_plane.jobs WHERE id = $1", job_id)
    return found == status
