"""I9: a synchronous handler that was given up still runs in its thread, and no other execution begins beside it."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobplane import Fixed, JobContext, JobQueue, JobStatus, Worker, task
from jobplane.failure import ErrorReport
from jobplane.outcome import Cancelled, Failed, Lost, Outcome, Released, Rescheduled
from jobplane.task import AnyTask
from jobplane.worker.left_behind import PROCESS_ENDS, outcome_apart
from jobplane.worker.slots import HEED_WITHIN, Running, StopReason
from tests.support import until
from tests.unit.executor_bench import SECOND, Bench, claimed

REPORT = ErrorReport("TimeoutError", "no end")
AGAIN = Rescheduled(REPORT, SECOND, "timeout")


class Deaf:
    """A handler that hears of nothing, and ends when the test says so."""

    def __init__(self) -> None:
        self.started, self.may_end = threading.Event(), threading.Event()

    def task(self) -> AnyTask:
        """It as a task."""

        @task(retry=Fixed(SECOND), max_attempts=3)
        def handler() -> None:
            self.started.set()
            self.may_end.wait(60)

        return handler


async def given_up(deaf: Deaf, reason: StopReason) -> tuple[Bench, Running, asyncio.Task[Outcome]]:
    """A bench on which the handler runs and was told to stop."""
    bench = Bench(deaf.task())
    outcome = asyncio.create_task(bench.run())
    assert await asyncio.to_thread(deaf.started.wait, 20)
    (running,) = bench.slots.running.values()
    running.stop(reason)
    return bench, running, outcome


async def test_after_a_timeout_the_job_is_held_until_its_thread_has_come_to_an_end() -> None:
    deaf = Deaf()
    bench, running, outcome = await given_up(deaf, StopReason.TIMEOUT)

    async def is_left_behind() -> bool:
        return running.thread_ended is not None

    await until(is_left_behind)

    assert list(bench.slots.held()) == [running.claim], "its lease is renewed"
    assert not outcome.done()
    deaf.may_end.set()
    ended = await asyncio.wait_for(outcome, 20)
    assert isinstance(ended, Rescheduled)
    assert (ended.reason, ended.delay) == ("timeout", SECOND), "as the policy says: nothing runs any more"


@pytest.mark.parametrize("reason", [StopReason.LOST, StopReason.SHUTDOWN])
async def test_the_wait_for_a_thread_ends_when_the_worker_has_to_let_go(reason: StopReason) -> None:
    deaf = Deaf()
    _, running, outcome = await given_up(deaf, StopReason.TIMEOUT)

    async def waits() -> bool:
        return running.thread_ended is not None

    await until(waits)
    running.stop(reason)
    ended = await asyncio.wait_for(outcome, 20)
    deaf.may_end.set()

    assert isinstance(ended, Rescheduled)
    assert ended.delay == PROCESS_ENDS, "longer than the policy's second: the thread goes on"


async def test_a_worker_that_stops_puts_the_next_execution_off_until_its_process_has_ended() -> None:
    deaf = Deaf()
    _, _, outcome = await given_up(deaf, StopReason.SHUTDOWN)

    ended = await asyncio.wait_for(outcome, 20)
    deaf.may_end.set()

    assert isinstance(ended, Released)
    assert ended.delay == PROCESS_ENDS


async def test_a_handler_that_heeds_its_context_is_handed_back_without_delay() -> None:
    started = threading.Event()

    @task
    def heedful(ctx: JobContext) -> None:
        started.set()
        ctx.wait_cancelled(60)
        ctx.raise_if_cancelled()

    bench = Bench(heedful)
    outcome = asyncio.create_task(bench.run(claimed("heedful")))
    assert await asyncio.to_thread(started.wait, 20)
    (running,) = bench.slots.running.values()
    running.stop(StopReason.SHUTDOWN)
    ended = await asyncio.wait_for(outcome, 20)

    assert isinstance(ended, Released)
    assert ended.delay is None


@pytest.mark.parametrize("final", [Failed(REPORT, "timeout"), Cancelled(REPORT), Lost()], ids=str)
async def test_an_outcome_after_which_nothing_runs_waits_for_nobody(final: Outcome) -> None:
    assert await outcome_apart(final, running(), asyncio.Event()) is final


async def test_a_thread_that_never_ends_is_waited_for_as_long_as_any_handler() -> None:
    job = running()
    job.stopped_at = time.monotonic() - HEED_WITHIN

    assert await outcome_apart(AGAIN, job, asyncio.Event()) == Rescheduled(REPORT, PROCESS_ENDS, "timeout")


async def test_a_longer_delay_of_the_policy_stays() -> None:
    job = running()
    job.stopped_at = time.monotonic() - HEED_WITHIN
    later = Rescheduled(REPORT, timedelta(hours=1), "timeout")

    assert await outcome_apart(later, job, asyncio.Event()) == later


async def test_cancelling_the_wait_does_not_cost_the_outcome() -> None:
    waiting = asyncio.create_task(outcome_apart(AGAIN, running(), asyncio.Event()))
    await asyncio.sleep(0)
    waiting.cancel()

    assert await waiting == Rescheduled(REPORT, PROCESS_ENDS, "timeout")


async def test_the_next_attempt_of_a_timed_out_job_begins_after_the_last_has_ended(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    """On two workers, so that the other one is free to take it."""
    at_work = threading.Semaphore(1)
    begun = threading.Event()
    may_end = threading.Event()
    beside: list[int] = []

    @queue.task(max_attempts=2, timeout=0.1, retry=Fixed(timedelta(0)))
    def handler(ctx: JobContext) -> None:
        if not at_work.acquire(blocking=False):
            beside.append(ctx.attempt)
            return
        begun.set()
        if ctx.attempt == 1:
            may_end.wait(60)
        at_work.release()

    first, second = (make_worker(queue, queues="default:1") for _ in range(2))
    async with first, second:
        made = await handler.enqueue()
        assert await asyncio.to_thread(begun.wait, 20)

        async def told_to_stop() -> bool:
            held = [*first.slots["default"].running.values(), *second.slots["default"].running.values()]
            return any(job.stop_reason is not None for job in held)

        await until(told_to_stop)
        status = (await queue.get_job(made.id)).status  # type: ignore[union-attr]
        may_end.set()
        job = await queue.wait(made.id, 20)

    assert status is JobStatus.RUNNING
    assert (job.status, beside) == (JobStatus.COMPLETED, [])


def running() -> Running:
    """A job that was told to stop just now."""
    job = Running(claimed(), None, math.inf, time.monotonic())
    job.stopped_at = time.monotonic()
    return job
