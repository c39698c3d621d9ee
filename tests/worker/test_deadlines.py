"""An attempt has a deadline: a handler that hangs costs its job that attempt, and the worker nothing (F5)."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from jobplane import JobContext, JobQueue, JobStatus, Worker
from jobplane.events import JobFinished
from jobplane.retry import Fixed
from tests.support import SLACK, Recorder


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """What hanging synchronous handlers wait for; set at the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


async def test_an_async_handler_that_hangs_is_timed_out_and_its_slot_is_free_again(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    cleaned_up = asyncio.Event()

    @queue.task(timeout=0.3, max_attempts=1)
    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.set()

    @queue.task
    async def neighbour() -> str:
        return "ran"

    worker = make_worker(queue, queues="default:1")
    recorder = Recorder(worker.events, JobFinished)
    hung, next_one = await hang.enqueue(), await neighbour.enqueue()

    async with worker:
        failed = await queue.wait(hung.id, 10)
        ran = await queue.wait(next_one.id, 10)

    assert (failed.status, failed.last_error) == (JobStatus.FAILED, "TimeoutError: no end after 0.3 s")
    assert cleaned_up.is_set()
    assert ran.result == "ran"
    (attempt,) = await queue.list_attempts(hung.id)
    assert (attempt.outcome, attempt.error_type) == ("timeout", "TimeoutError")
    assert any(" hang" in frame for frame in attempt.frames), "where it hung"
    assert 0.3 <= recorder.of(JobFinished)[0].seconds < 0.3 * SLACK


async def test_a_synchronous_handler_that_hangs_is_timed_out_and_its_slot_and_thread_are_made_up_for(
    queue: JobQueue, make_worker: Callable[..., Worker], let_go: threading.Event
) -> None:
    @queue.task(timeout=0.2, max_attempts=1)
    def hang() -> None:
        let_go.wait()

    @queue.task
    def neighbour() -> str:
        return "ran"

    hung, next_one = await hang.enqueue(), await neighbour.enqueue()

    async with make_worker(queue, queues="default:1", threads=1):
        failed = await queue.wait(hung.id, 10)
        ran = await queue.wait(next_one.id, 10)

    assert (failed.status, failed.last_error) == (JobStatus.FAILED, "TimeoutError: no end after 0.2 s")
    assert ran.result == "ran"


async def test_a_synchronous_handler_that_heeds_its_context_ends_in_time_as_a_timeout(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    ended = threading.Event()

    @queue.task(timeout=0.2, max_attempts=1)
    def heedful(ctx: JobContext) -> None:
        ctx.wait_cancelled(10)
        ended.set()
        ctx.raise_if_cancelled()

    made = await heedful.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)
        assert await asyncio.to_thread(ended.wait, 5)

    assert (job.status, job.last_error) == (JobStatus.FAILED, "TimeoutError: no end after 0.2 s")


async def test_a_timeout_is_retried_like_any_failure_unless_the_policy_refuses(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(timeout=0.1, max_attempts=3, retry=Fixed(timedelta(0)))
    async def slow_at_first(ctx: JobContext) -> int:
        if ctx.attempt < 3:
            await asyncio.Event().wait()
        return ctx.attempt

    @queue.task(timeout=0.1, max_attempts=3, retry=Fixed(timedelta(0), never=(TimeoutError,)))
    async def slow() -> None:
        await asyncio.Event().wait()

    patient, final = await slow_at_first.enqueue(), await slow.enqueue()

    async with make_worker(queue):
        first, second = await queue.wait(patient.id, 10), await queue.wait(final.id, 10)

    assert (first.status, first.result) == (JobStatus.COMPLETED, 3)
    assert (second.status, second.attempts) == (JobStatus.FAILED, 1)


async def test_the_worker_has_a_deadline_for_tasks_without_one(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=1)
    async def hang() -> None:
        await asyncio.Event().wait()

    made = await hang.enqueue()

    async with make_worker(queue, timeout=0.2):
        job = await queue.wait(made.id, 10)

    assert job.last_error == "TimeoutError: no end after 0.2 s"


async def test_a_handler_that_finishes_while_it_is_being_stopped_has_finished(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(timeout=0.1, max_attempts=1)
    async def stubborn() -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "just made it"
        return "never"

    made = [await stubborn.enqueue() for _ in range(2)]

    async with make_worker(queue, queues="default:1"):
        jobs = [await queue.wait(one.id, 10) for one in made]

    assert [job.result for job in jobs] == ["just made it"] * 2


async def test_a_job_whose_deadline_passes_before_a_thread_is_free_never_starts(
    queue: JobQueue, make_worker: Callable[..., Worker], let_go: threading.Event
) -> None:
    started: list[str] = []

    @queue.task(max_attempts=1)
    def occupy() -> None:
        started.append("occupy")
        let_go.wait()

    @queue.task(timeout=0.2, max_attempts=1)
    def late() -> None:
        started.append("late")

    first, second = await occupy.enqueue(), await late.enqueue()

    async with make_worker(queue, queues="default:2", threads=1):
        timed_out = await queue.wait(second.id, 10)
        let_go.set()
        await queue.wait(first.id, 10)

    assert timed_out.last_error == "TimeoutError: no end after 0.2 s"
    assert started == ["occupy"], "it was given up: it must not run after that"
