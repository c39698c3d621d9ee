"""What the executor makes of a handler's end, without a database: each way to end is one outcome (I6, I9, I12, I19)."""

from __future__ import annotations

import asyncio
import math
import time
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import pytest

from jobplane import Cancel, Fail, JobContext, Registry, Retry, Snooze, task
from jobplane.context import JobCancelledError, current_job_id
from jobplane.events import Event, Events, JobFinished, JobLost, JobStarted
from jobplane.failure import ErrorReport
from jobplane.ids import new_job_id
from jobplane.job import Claim
from jobplane.outcome import Cancelled, Completed, Failed, Lost, Outcome, Released, Rescheduled, Snoozed
from jobplane.retry import DEFAULT_RETRY, Exponential, Fixed, RetryPolicy, encode_policy
from jobplane.task import AnyTask
from jobplane.worker.executor import Executor
from jobplane.worker.slots import QueueSlots, Running, StopReason
from jobplane.worker.threads import Threads

SECOND = timedelta(seconds=1)
NOW = datetime.now(UTC)


def claimed(
    type: str = "handler",  # noqa: A002 - the contract's word
    attempt: int = 1,
    max_attempts: int = 3,
    *,
    payload: str = "{}",
    lease: float = 45.0,
    policy: str | None = None,
) -> Claim:
    """A claim that was just made; its lease ends so many seconds from now."""
    return Claim(
        id=new_job_id(),
        type=type,
        payload=payload,
        attempt=attempt,
        max_attempts=max_attempts,
        epoch=attempt,
        queue="default",
        priority=0,
        scheduled_at=NOW,
        created_at=NOW,
        started_at=NOW,
        unique_key=None,
        tags=(),
        progress=None,
        retry_policy=policy,
        lease_ends=time.monotonic() + lease,
    )


class Bench:
    """An executor with one task, its queue's slots, and what it emitted."""

    def __init__(self, *tasks: AnyTask, timeout: timedelta | None = None) -> None:
        self.slots = QueueSlots("default", 4)
        self.seen: list[Event] = []
        self.progress: list[tuple[UUID, str]] = []
        events = Events()
        for kind in (JobStarted, JobFinished, JobLost):
            events.subscribe(kind, self.seen.append)
        self.threads = Threads(2)
        self.executor = Executor(Registry(tasks), self.threads, events, timeout, self._report)

    def _report(self, claim: Claim, progress: str) -> None:
        self.progress.append((claim.id, progress))

    async def run(self, claim: Claim | None = None) -> Outcome:
        """Run one claim in a task of its own, as a runner does. No cancellation may be left on that task."""

        async def runner() -> Outcome:
            outcome = await self.executor.execute(claim or claimed(), self.slots)
            me = asyncio.current_task()
            assert me is not None
            assert me.cancelling() == 0, "the next job of this runner would be cancelled"
            return outcome

        try:
            return await asyncio.create_task(runner())
        finally:
            self.threads.close()


def returning(value: object, *, store_result: bool = True, policy: RetryPolicy = DEFAULT_RETRY) -> AnyTask:
    """A task that returns something."""

    @task(store_result=store_result, retry=policy)
    async def handler() -> object:
        return value

    return handler


def raising(error: BaseException, policy: RetryPolicy = DEFAULT_RETRY) -> AnyTask:
    """A task that raises something."""

    @task(retry=policy)
    async def handler() -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, Completed()),
        ({"a": [1, None]}, Completed('{"a":[1,null]}')),
        (0, Completed("0")),
        (Snooze(SECOND), Snoozed(SECOND)),
        (Snooze(-SECOND), Snoozed(timedelta(0))),
        (Snooze(timedelta(days=366)), Snoozed(timedelta(days=366))),
        (Cancel("no need"), Cancelled(ErrorReport("Cancel", "no need"))),
        (Cancel("\0"), Cancelled(ErrorReport("Cancel", "\N{REPLACEMENT CHARACTER}"))),
        (Fail("never"), Failed(ErrorReport("Fail", "never"))),
        (Retry(SECOND, "busy"), Rescheduled(ErrorReport("Retry", "busy"), SECOND)),
        (Retry(-SECOND), Rescheduled(ErrorReport("Retry", ""), timedelta(0))),
    ],
    ids=str,
)
async def test_what_a_handler_returns_is_its_outcome(value: object, outcome: Outcome) -> None:
    assert await Bench(returning(value)).run() == outcome


async def test_a_result_that_nobody_wants_is_not_even_encoded() -> None:
    assert await Bench(returning(object(), store_result=False)).run() == Completed()


async def test_a_result_that_cannot_be_stored_fails_for_good() -> None:
    """The effects stand: another run would not make it storable."""
    outcome = await Bench(returning(object())).run()

    assert isinstance(outcome, Failed)
    assert (outcome.error.type, outcome.reason) == ("InvalidInputError", "failed")
    assert outcome.error.message.startswith("result")


@pytest.mark.parametrize("delay", [timedelta(days=366, seconds=1), "soon", None, math.nan])
@pytest.mark.parametrize("decision", [Snooze, Retry])
async def test_a_delay_that_cannot_be_stored_is_a_failure_of_the_handler(
    decision: type[Snooze | Retry], delay: object
) -> None:
    outcome = await Bench(returning(decision(delay), policy=Fixed(SECOND))).run()  # type: ignore[arg-type]

    assert isinstance(outcome, Rescheduled)
    assert (outcome.error.type, outcome.delay) == ("InvalidInputError", SECOND)
    assert outcome.error.message.startswith("delay must be a timedelta or seconds, at most a year (366 days)")


async def test_the_last_attempt_is_not_followed_by_another() -> None:
    """I6."""
    for handler in (returning(Retry(SECOND, "busy")), raising(ValueError("busy"))):
        assert isinstance(await Bench(handler).run(claimed(attempt=2)), Rescheduled)
        last = await Bench(handler).run(claimed(attempt=3))
        assert isinstance(last, Failed)
        assert (last.error.message, last.reason) == ("busy", "failed")


async def test_a_failure_waits_as_its_policy_says() -> None:
    outcome = await Bench(raising(ValueError("no"), Fixed(7 * SECOND))).run()

    assert isinstance(outcome, Rescheduled)
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "no")
    assert (outcome.delay, outcome.reason) == (7 * SECOND, "failed")


async def test_a_failure_without_a_policy_waits_as_the_default_says() -> None:
    @task
    async def handler() -> None:
        raise ValueError

    outcome = await Bench(handler).run(claimed(attempt=2))

    assert isinstance(DEFAULT_RETRY, Exponential)
    assert isinstance(outcome, Rescheduled)
    assert timedelta(0) < outcome.delay <= 2 * DEFAULT_RETRY.base


async def test_an_error_that_the_policy_does_not_retry_fails_for_good() -> None:
    policy = Fixed(SECOND, never=(ValueError,))

    assert isinstance(await Bench(raising(ValueError(), policy)).run(), Failed)
    assert isinstance(await Bench(raising(OSError(), policy)).run(), Rescheduled)


async def test_a_jobs_own_policy_gives_the_delay_and_its_types_the_errors() -> None:
    own = encode_policy(Fixed(9 * SECOND))
    policy = Fixed(SECOND, never=(ValueError,))

    outcome = await Bench(raising(OSError(), policy)).run(claimed(policy=own))
    assert isinstance(outcome, Rescheduled)
    assert outcome.delay == 9 * SECOND
    assert isinstance(await Bench(raising(ValueError(), policy)).run(claimed(policy=own)), Failed)
    unknown = await Bench(raising(OSError(), policy)).run(claimed(policy='{"kind":"new","seconds":[]}'))
    assert isinstance(unknown, Rescheduled)
    assert unknown.delay == SECOND


async def test_a_jobs_own_policy_counts_where_its_type_has_none() -> None:
    @task
    async def handler() -> None:
        raise ValueError

    outcome = await Bench(handler).run(claimed(policy=encode_policy(Fixed(9 * SECOND))))

    assert isinstance(outcome, Rescheduled)
    assert outcome.delay == 9 * SECOND


async def test_a_policy_that_raises_costs_no_outcome() -> None:
    """I19."""

    class Broken(RetryPolicy):
        def _delay(self, attempt: int) -> timedelta:
            raise LookupError(attempt)

    assert isinstance(await Bench(raising(ValueError(), Broken())).run(), Rescheduled)


async def test_a_policy_that_answers_less_than_nothing_means_at_once() -> None:
    outcome = await Bench(raising(ValueError(), Fixed(-SECOND))).run()

    assert isinstance(outcome, Rescheduled)
    assert outcome.delay == timedelta(0)


async def test_arguments_that_do_not_fit_are_retried_whatever_the_policy_says() -> None:
    """The next deploy may understand them."""

    @task(retry=Fixed(SECOND, only=(OSError,)))
    async def handler(number: int) -> None: ...

    outcome = await Bench(handler).run(claimed(payload='{"number": "x"}'))

    assert isinstance(outcome, Rescheduled)
    assert outcome.error.type == "InvalidArgumentsError"


async def test_a_type_that_is_not_known_is_handed_back_untouched() -> None:
    """I18."""
    assert await Bench(returning(1)).run(claimed(type="other")) == Released()


async def test_an_attempt_beyond_the_limit_is_not_run() -> None:
    """I6."""
    bench = Bench(returning(1))

    assert await bench.run(claimed(attempt=4, max_attempts=3)) == Failed(
        ErrorReport("AttemptsExhausted", "attempt 4 of 3 was not run")
    )
    assert bench.seen == []
    assert await bench.run(claimed(attempt=3, max_attempts=3)) == Completed("1")


async def test_a_task_that_must_not_run_twice_does_not() -> None:
    @task(at_most_once=True)
    async def handler() -> int:
        return 1

    outcome = await Bench(handler).run(claimed(attempt=2))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "AtMostOnce"
    assert await Bench(handler).run(claimed(attempt=1)) == Completed("1")


@pytest.mark.parametrize("lease", [-1.0, 0.0, 0.08])
async def test_a_claim_whose_lease_is_about_to_end_is_not_begun(lease: float) -> None:
    """I9: others may have it before the handler's first line."""
    bench = Bench(returning(1))
    claim = claimed(lease=lease)

    assert await bench.run(claim) == Lost()
    assert bench.seen == [JobLost(claim, "its lease ended before a slot was free")]


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
    assert any("test_executor.py" in frame for frame in outcome.error.frames), "where it hung"


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
    assert any("test_executor.py" in frame for frame in outcome.error.frames), "where it stood"


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
    await bench.executor.execute(claim, bench.slots)

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
