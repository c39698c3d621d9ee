"""What surrounds a handler while it runs: slots, deadlines, events, context, threads; without a database."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import JobContext, task
from jobplane.context import current_job_id
from jobplane.events import JobFinished, JobStarted
from jobplane.outcome import Cancelled, Completed
from jobplane.worker.slots import Running, StopReason
from tests.unit.executor_bench import SECOND, Bench, claimed, returning


async def test_a_job_is_among_the_running_while_it_runs_and_no_longer() -> None:
    seen: list[Running] = []

    @task(timeout=7)
    async def handler(ctx: JobContext) -> None:
        seen.append(bench.slots.running[ctx.job.id])

    bench = Bench(handler, timeout=5 * SECOND)
    claim = claimed()
    before = time.monotonic()
    await bench.run(claim)

    (running,) = seen
    assert bench.slots.running == {}
    assert running.claim is claim
    assert running.task is not None
    assert before <= running.started <= time.monotonic()
    assert running.deadline == running.started + 7
    assert running.context is not None


@pytest.mark.parametrize(("timeout", "seconds"), [(None, math.inf), (5 * SECOND, 5.0)])
async def test_without_a_timeout_of_its_own_the_workers_counts(
    timeout: timedelta | None, seconds: float
) -> None:
    seen: list[tuple[Running, timedelta | None]] = []

    @task
    async def handler(ctx: JobContext) -> None:
        seen.append((bench.slots.running[ctx.job.id], ctx.deadline))

    bench = Bench(handler, timeout=timeout)
    await bench.run()

    ((running, left),) = seen
    assert running.deadline - running.started == pytest.approx(seconds)
    assert (left is None) is (timeout is None)
    assert left is None or timedelta(seconds=4) < left <= timedelta(seconds=5)


async def test_a_later_claim_of_the_same_job_stays_among_the_running() -> None:
    """The stubborn handler of an old claim may end while the new one runs."""
    later = Running(claimed(), None, math.inf, 0.0)

    @task
    async def handler(ctx: JobContext) -> None:
        bench.slots.running[ctx.job.id] = later

    bench = Bench(handler)
    claim = claimed()
    await bench.run(claim)

    assert bench.slots.running == {claim.id: later}


async def test_who_wants_to_know_hears_of_start_and_end() -> None:
    bench = Bench(returning(1))
    claim = claimed()

    before = time.monotonic()
    outcome = await bench.run(claim)

    started, finished = bench.seen
    assert started == JobStarted(claim)
    assert isinstance(finished, JobFinished)
    assert (finished.claim, finished.outcome) == (claim, outcome)
    assert 0 <= finished.seconds <= time.monotonic() - before


async def test_a_handler_runs_under_its_jobs_id_and_leaves_no_context_behind() -> None:
    seen: list[UUID | None] = []

    @task
    async def handler(ctx: JobContext) -> None:
        await asyncio.sleep(0)
        seen.append(current_job_id.get())
        ctx.progress(0.5)

    bench = Bench(handler)
    claim = claimed()
    await bench.run(claim)

    assert seen == [claim.id]
    assert current_job_id.get() is None
    assert [job_id for job_id, _ in bench.progress] == [claim.id]


async def test_what_a_handler_awaits_answers_and_raises_as_in_any_coroutine() -> None:
    @task
    async def handler() -> list[object]:
        loop = asyncio.get_running_loop()
        good, bad = loop.create_future(), loop.create_future()
        loop.call_soon(good.set_result, 1)
        loop.call_soon(bad.set_exception, ValueError("thrown in"))
        answers: list[object] = [await good]
        try:
            await bad
        except ValueError as error:
            answers.append(str(error))
        return answers

    assert await Bench(handler).run() == Completed('[1,"thrown in"]')


async def test_a_synchronous_handler_runs_in_a_thread_under_the_same_rules() -> None:
    seen: list[object] = []

    @task
    def handler(ctx: JobContext, number: int) -> int:
        seen.extend([current_job_id.get(), bench.slots.running[ctx.job.id].task])
        return number + 1

    bench = Bench(handler)
    claim = claimed(payload='{"number": 4}')

    assert await bench.run(claim) == Completed("5")
    assert seen == [claim.id, None]
    assert current_job_id.get() is None


async def test_a_synchronous_handler_that_is_told_to_stop_ends_as_told() -> None:
    @task
    def handler(ctx: JobContext) -> None:
        bench.slots.running[ctx.job.id].stop(StopReason.CANCELLED)
        ctx.wait_cancelled(10)
        ctx.raise_if_cancelled()

    bench = Bench(handler)

    assert isinstance(await bench.run(), Cancelled)
