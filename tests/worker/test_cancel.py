"""I12: a cancelled job never starts, a running one is told at once, and exactly one of two ends wins."""

import asyncio
import threading
from collections.abc import Callable
from datetime import timedelta

from jobplane import JobContext, JobQueue, JobStateError, JobStatus, Worker
from jobplane.client.info import CancelResult
from jobplane.events import JobFinished
from jobplane.retry import Fixed
from tests.factories import SQL
from tests.support import Recorder, until

FAR_HEARTBEATS = {"heartbeat_interval": 20, "lease": 60}
"""So that only a notification can tell in time."""


async def test_a_pending_job_that_is_cancelled_never_starts(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    started: list[str] = []

    @queue.task
    async def work(name: str) -> None:
        started.append(name)

    unwanted, wanted = await work.enqueue("unwanted"), await work.enqueue("wanted")

    assert await queue.cancel(unwanted.id) is CancelResult.CANCELLED
    async with make_worker(queue, queues="default:1"):
        await queue.wait(wanted.id, 10)

    job = await queue.get_job(unwanted.id)
    assert job is not None
    assert (job.status, job.attempts, started) == (JobStatus.CANCELLED, 0, ["wanted"])


async def test_a_running_handler_is_told_by_notification_long_before_the_next_heartbeat(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running = asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    worker = make_worker(queue, **FAR_HEARTBEATS)
    recorder = Recorder(worker.events, JobFinished)
    made = await work.enqueue()

    async with worker:
        await running.wait()
        assert await queue.cancel(made.id) is CancelResult.REQUESTED
        await recorder.wait_for(JobFinished, timeout=1)
        job = await queue.wait(made.id, 10)

    assert (job.status, job.last_error) == (JobStatus.CANCELLED, "Cancelled: cancelled on request")
    assert [attempt.outcome for attempt in await queue.list_attempts(made.id)] == ["cancelled"]


async def test_without_a_notification_the_heartbeat_tells_the_handler(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    running = asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobFinished)
    made = await work.enqueue()

    async with worker:
        await running.wait()
        await sql.execute("UPDATE control_plane.jobs SET cancel_requested_at = now()")
        await recorder.wait_for(JobFinished, timeout=1)  # two heartbeats and some room
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.CANCELLED


async def test_a_synchronous_handler_is_told_through_its_context(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running, told = threading.Event(), threading.Event()

    @queue.task
    def work(ctx: JobContext) -> None:
        running.set()
        if ctx.wait_cancelled(10) and ctx.cancelled:
            told.set()
        ctx.raise_if_cancelled()

    made = await work.enqueue()

    async with make_worker(queue, **FAR_HEARTBEATS):
        assert await asyncio.to_thread(running.wait, 10)
        await queue.cancel(made.id)
        job = await queue.wait(made.id, 10)

    assert told.is_set()
    assert job.status is JobStatus.CANCELLED


async def test_a_synchronous_handler_that_does_not_heed_a_request_completes(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running, go_on = threading.Event(), threading.Event()

    @queue.task
    def work() -> str:
        running.set()
        go_on.wait(10)
        return "all done"

    made = await work.enqueue()

    async with make_worker(queue):
        assert await asyncio.to_thread(running.wait, 10)
        await queue.cancel(made.id)
        go_on.set()
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result) == (JobStatus.COMPLETED, "all done")


async def test_a_handler_that_fails_while_it_is_cancelled_is_not_tried_again(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running, runs = asyncio.Event(), 0

    @queue.task(max_attempts=5, retry=Fixed(timedelta(0)))
    async def work() -> None:
        nonlocal runs
        runs += 1
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise OSError("the clean-up failed")

    made = await work.enqueue()

    async with make_worker(queue):
        await running.wait()
        await queue.cancel(made.id)
        job = await queue.wait(made.id, 10)

    assert (job.status, runs, job.last_error) == (JobStatus.CANCELLED, 1, "OSError: the clean-up failed")


async def test_a_job_that_waits_in_its_worker_is_cancelled_before_it_starts(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    started: list[str] = []
    release = asyncio.Event()

    @queue.task
    async def work(name: str) -> None:
        started.append(name)
        await release.wait()

    first, second = await work.enqueue("first"), await work.enqueue("second")
    worker = make_worker(queue, queues="default:1", **FAR_HEARTBEATS)
    worker.slots["default"].pace = 1000.0  # as after many quick jobs: claim ahead

    async with worker:
        await until(lambda: _is_claimed(sql, second.id))
        assert await queue.cancel(second.id) is CancelResult.REQUESTED
        job = await queue.wait(second.id, 10)
        release.set()
        await queue.wait(first.id, 10)

    assert job.status is JobStatus.CANCELLED
    assert started == ["first"]


async def test_between_completion_and_cancel_exactly_one_wins(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    jobs = 60
    running, finish = asyncio.Semaphore(0), [asyncio.Event() for _ in range(jobs)]

    @queue.task
    async def work(number: int) -> None:
        running.release()
        await finish[number].wait()

    made = [await work.enqueue(number) for number in range(jobs)]

    async def cancel(number: int) -> CancelResult | None:
        try:
            return await queue.cancel(made[number].id)
        except JobStateError:
            return None

    async def end(number: int) -> None:
        finish[number].set()

    async with make_worker(queue, queues=f"default:{jobs}"):
        for _ in range(jobs):
            await running.acquire()
        races = [race for number in range(jobs) for race in (cancel(number), end(number))]
        answers = (await asyncio.gather(*races))[::2]
        ended = [await queue.wait(one.id, 10) for one in made]

    for answer, job in zip(answers, ended, strict=True):
        history = [attempt.outcome for attempt in await queue.list_attempts(job.id)]
        if job.status is JobStatus.COMPLETED:
            assert history == []
        else:
            assert (job.status, history) == (JobStatus.CANCELLED, ["cancelled"])
            assert answer is CancelResult.REQUESTED, "nobody else asked for it"
        if answer is None:
            assert job.status is JobStatus.COMPLETED, "refused because it had completed"


async def _is_claimed(sql: SQL, job_id: object) -> bool:
    claimed: bool = await sql.fetchval(
        "SELECT status = 'running' FROM control_plane.jobs WHERE id = $1", job_id
    )
    return claimed
