"""What becomes of a job whose handler is told to stop, and of one that stops itself, without a database (I6, I9, I12, I23)."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from jobplane import JobContext, task
from jobplane.context import JobCancelledError
from jobplane.events import JobLost
from jobplane.failure import ErrorReport
from jobplane.job import Claim
from jobplane.outcome import Cancelled, Completed, Failed, Lost, Outcome, Released, Rescheduled
from jobplane.retry import Fixed
from jobplane.task import AnyTask
from jobplane.worker.slots import QueueSlots, StopReason
from tests.unit.executor_bench import SECOND, Bench, claimed, raising


def stopped(reason: StopReason, bench_slots: list[QueueSlots], **options: bool) -> AnyTask:
    """A task that is told to stop while it waits."""

    @task(retry=Fixed(SECOND, never=(LookupError,)), at_most_once=options.get("at_most_once", False))
    async def handler(ctx: JobContext) -> None:
        bench_slots[0].running[ctx.job.id].stop(reason)
        await asyncio.Event().wait()

    return handler


async def end_of(
    reason: StopReason, claim: Claim | None = None, *, at_most_once: bool = False
) -> tuple[Outcome, Bench]:
    """How a job ends whose handler is told to stop."""
    slots: list[QueueSlots] = []
    bench = Bench(stopped(reason, slots, at_most_once=at_most_once), timeout=5 * SECOND)
    slots.append(bench.slots)
    return await bench.run(claim), bench


async def test_a_handler_that_was_cancelled_on_request_is_cancelled() -> None:
    """I12."""
    outcome, bench = await end_of(StopReason.CANCELLED)

    assert outcome == Cancelled(ErrorReport("Cancelled", "cancelled on request"))
    assert bench.slots.running == {}


async def test_a_handler_whose_lease_is_lost_has_nothing_to_report() -> None:
    """I9."""
    claim = claimed()

    outcome, bench = await end_of(StopReason.LOST, claim)

    assert outcome == Lost()
    assert JobLost(claim, "its lease could not be renewed in time") in bench.seen


@pytest.mark.parametrize(("attempt", "kind"), [(2, Rescheduled), (3, Failed)])
async def test_a_handler_that_took_too_long_failed_by_timeout(
    attempt: int, kind: type[Rescheduled | Failed]
) -> None:
    outcome, _ = await end_of(StopReason.TIMEOUT, claimed(attempt=attempt))

    assert isinstance(outcome, kind)
    assert (outcome.error.type, outcome.error.message) == ("TimeoutError", "no end after 5 s")
    assert outcome.reason == "timeout"
    assert any("test_executor_stops.py" in frame for frame in outcome.error.frames), "where it hung"


async def test_a_timeout_that_the_policy_does_not_retry_fails_for_good() -> None:
    slots: list[QueueSlots] = []

    @task(retry=Fixed(SECOND, never=(TimeoutError,)), timeout=3)
    async def handler(ctx: JobContext) -> None:
        slots[0].running[ctx.job.id].stop(StopReason.TIMEOUT)
        await asyncio.Event().wait()

    bench = Bench(handler)
    slots.append(bench.slots)
    outcome = await bench.run()

    assert isinstance(outcome, Failed)
    assert (outcome.reason, outcome.error.message) == ("timeout", "no end after 3 s")


async def test_a_handler_that_was_interrupted_is_handed_back() -> None:
    """I23."""
    outcome, _ = await end_of(StopReason.SHUTDOWN)

    assert isinstance(outcome, Released)
    assert outcome.error is not None
    assert (outcome.error.type, outcome.error.message) == (
        "Interrupted",
        "its worker was stopped before the handler ended",
    )
    assert any("test_executor_stops.py" in frame for frame in outcome.error.frames), "where it stood"


@pytest.mark.parametrize(("max_attempts", "at_most_once"), [(1, False), (3, True), (1, True)])
async def test_a_handler_that_must_not_run_twice_fails_when_interrupted(
    max_attempts: int, *, at_most_once: bool
) -> None:
    """I6: at most once, and never silently."""
    outcome, _ = await end_of(
        StopReason.SHUTDOWN, claimed(max_attempts=max_attempts), at_most_once=at_most_once
    )

    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.reason) == ("Interrupted", "interrupted")


@pytest.mark.parametrize("end", ["returns", "raises", "says so"])
async def test_a_handler_that_was_told_to_stop_and_ends_by_itself_decides(
    end: Literal["returns", "raises", "says so"],
) -> None:
    slots: list[QueueSlots] = []

    @task
    async def handler(ctx: JobContext) -> int:
        slots[0].running[ctx.job.id].stop(StopReason.CANCELLED)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if end == "raises":
                raise ValueError("in between") from None
            if end == "says so":
                ctx.raise_if_cancelled()
        return 1

    bench = Bench(handler)
    slots.append(bench.slots)
    outcome = await bench.run()

    match end:
        case "returns":
            assert outcome == Completed("1")
        case "raises":
            assert isinstance(outcome, Rescheduled)
            assert outcome.error.message == "in between"
        case _:
            assert isinstance(outcome, Cancelled)


@pytest.mark.parametrize("error", [asyncio.CancelledError("by itself"), JobCancelledError("by itself")])
async def test_a_handler_that_cancels_itself_has_failed(error: BaseException) -> None:
    """Nobody asked it to stop."""
    outcome = await Bench(raising(error)).run()

    assert isinstance(outcome, Rescheduled)
    assert outcome.error.type == type(error).__name__
