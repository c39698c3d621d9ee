"""One job, from claim to outcome: resolve the handler, decode its arguments, run it, and classify what came of it.

This is the central file. Nothing here touches the database: an Outcome goes in, the reporter writes it. Nothing
that a handler does may escape from `execute`, except the death of the process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Generator
from contextvars import Context, copy_context
from datetime import timedelta
from functools import partial
from types import coroutine
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias, cast
from uuid import UUID

from jobplane.context import JobCancelledError, JobContext, current_job_id
from jobplane.errors import InvalidArgumentsError, InvalidInputError
from jobplane.events import Events, JobFinished, JobLost, JobStarted
from jobplane.failure import ErrorReport, message_of, report_of
from jobplane.job import Claim
from jobplane.limits import MAX_RESULT_BYTES, MAX_SCHEDULE_AHEAD, as_timedelta
from jobplane.outcome import (
    Cancel,
    Cancelled,
    Completed,
    Fail,
    Failed,
    Lost,
    Outcome,
    Released,
    Rescheduled,
    Retry,
    Snooze,
    Snoozed,
)
from jobplane.payload import encode_json
from jobplane.retry import DEFAULT_RETRY, RetryPolicy, decode_policy
from jobplane.task import AnyTask, Registry
from jobplane.worker.slots import SAFETY_MARGIN, QueueSlots, Running, StopReason

if TYPE_CHECKING:
    from jobplane.worker.threads import Threads

_DONE: Final = Completed()
_Steps: TypeAlias = Generator[object, object, object]


class _AsyncHandler(Protocol):
    def __call__(self, *args: object, **kwargs: object) -> Awaitable[object]: ...


class Executor:
    """Runs claimed jobs. One instance serves all runners of a worker."""

    def __init__(
        self,
        registry: Registry,
        threads: Threads,
        events: Events,
        timeout: timedelta | None,
        report_progress: Callable[[Claim, str], None],
    ) -> None:
        self._registry = registry
        self._threads = threads
        self._events = events
        self._timeout = _seconds(timeout)
        self._report_progress = report_progress

    async def execute(
        self, claim: Claim, slots: QueueSlots, runner: asyncio.Task[None] | None = None
    ) -> Outcome:
        """Run one job's handler and say what came of it. Never raises.

        `runner` is the task that this runs in, which is cancelled to stop the handler; default: the current one, which
        takes a system call to find out.
        """
        started = time.monotonic()
        task = self._registry.get(claim.type)
        if task is None:
            # The claim asks for known types only, so this is a registry that changed under way.
            return Released()
        if (refusal := _refusal(claim, task)) is not None:
            return Failed(refusal)
        if started >= claim.lease_ends - SAFETY_MARGIN:
            return self._lost(claim, "its lease ended before a slot was free")
        running = self._started(claim, task, slots, started, runner or asyncio.current_task())
        try:
            result = await self._call(task, running)
            outcome = self._decided(result, running, task)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its outcome (I19)
            if running.stop_reason is not None and isinstance(
                error, asyncio.CancelledError | JobCancelledError
            ):
                outcome = self._stopped(running, task, error)
            else:
                outcome = self._failed(running, task, error)
        finally:
            if slots.running.get(claim.id) is running:  # and not a later claim of the same job
                del slots.running[claim.id]
            _forget_cancellation(running)
        if self._events.wants(JobFinished):
            self._events.emit(JobFinished(claim, outcome, time.monotonic() - started))
        return outcome

    # -- running -------------------------------------------------------------------------------------

    def _started(
        self,
        claim: Claim,
        task: AnyTask,
        slots: QueueSlots,
        now: float,
        runner: asyncio.Task[None] | None,
    ) -> Running:
        own = task.settings.timeout
        seconds = self._timeout if own is None else _seconds(own)
        running = Running(
            claim=claim,
            task=runner if task.is_async else None,
            deadline=math.inf if seconds is None else now + seconds,
            started=now,
        )
        if task.arguments.wants_context:
            running.context = JobContext(claim, seconds, self._report_progress)
        slots.running[claim.id] = running
        if self._events.wants(JobStarted):
            self._events.emit(JobStarted(claim))
        return running

    def _call(self, task: AnyTask, running: Running) -> Awaitable[object]:
        kwargs = task.arguments.decode(running.claim.payload)
        args = () if running.context is None else (running.context,)
        # Each job sees the context variables as they were when its runner began, and leaves none behind.
        context = copy_context()
        if task.is_async:
            handler = cast("_AsyncHandler", task.handler)
            return _within(context, partial(_begin, running.claim.id, handler, args, kwargs))
        context.run(current_job_id.set, running.claim.id)
        return self._threads.call(running, lambda: context.run(task.handler, *args, **kwargs))

    # -- classifying ---------------------------------------------------------------------------------

    def _decided(self, result: object, running: Running, task: AnyTask) -> Outcome:
        match result:
            case None:
                return _DONE
            case Snooze(delay=delay):
                return Snoozed(_checked(delay))
            case Cancel(reason=reason):
                return Cancelled(ErrorReport("Cancel", message_of(str(reason))))
            case Fail(reason=reason):
                return Failed(ErrorReport("Fail", message_of(str(reason))))
            case Retry(delay=delay, reason=reason):
                report = ErrorReport("Retry", message_of(str(reason)))
                return self._again(running.claim, report, _checked(delay))
            case _:
                return _completed(result) if task.settings.store_result else _DONE

    def _failed(self, running: Running, task: AnyTask, error: BaseException) -> Outcome:
        report = report_of(error)
        wait = self._wait_after(error, running.claim, task)
        return Failed(report) if wait is None else self._again(running.claim, report, wait)

    def _stopped(self, running: Running, task: AnyTask, error: BaseException) -> Outcome:
        claim = running.claim
        match running.stop_reason:
            case StopReason.LOST:
                return self._lost(claim, "its lease could not be renewed in time")
            case StopReason.CANCELLED:
                return Cancelled(ErrorReport("Cancelled", "cancelled on request"))
            case StopReason.TIMEOUT:
                report = ErrorReport(
                    "TimeoutError",
                    f"no end after {running.deadline - running.started:g} s",
                    report_of(error).frames,
                )
                wait = self._wait_after(TimeoutError(), claim, task)
                return (
                    Failed(report, "timeout") if wait is None else self._again(claim, report, wait, "timeout")
                )
            case _:
                report = ErrorReport(
                    "Interrupted", "its worker was stopped before the handler ended", report_of(error).frames
                )
                if claim.max_attempts == 1 or task.settings.at_most_once:
                    return Failed(report, "interrupted")
                return Released(report)

    def _again(self, claim: Claim, report: ErrorReport, delay: timedelta, reason: str = "failed") -> Outcome:
        if claim.attempt >= claim.max_attempts:
            return Failed(report, reason)
        return Rescheduled(report, max(delay, timedelta(0)), reason)

    def _wait_after(self, error: BaseException, claim: Claim, task: AnyTask) -> timedelta | None:
        """How long to wait before the next attempt; None when the policy wants none."""
        try:
            policy = _policy(claim, task)
            # Arguments that do not fit are retried whatever the policy says: the next deploy may understand them.
            again = policy.retries(error) or isinstance(error, InvalidArgumentsError)
            return policy.delay(claim.attempt) if again else None
        except Exception:  # noqa: BLE001 - a mistake in a policy of the user's own must not cost the outcome
            return DEFAULT_RETRY.delay(claim.attempt)

    def _lost(self, claim: Claim, reason: str) -> Lost:
        self._events.emit(JobLost(claim, reason))
        return Lost()


def _policy(claim: Claim, task: AnyTask) -> RetryPolicy:
    policy = task.settings.retry or DEFAULT_RETRY
    own = None if claim.retry_policy is None else decode_policy(claim.retry_policy)
    return policy if own is None else policy.with_delays_of(own)


def _checked(delay: object) -> timedelta:
    # What a handler decided must be storable, or it would hold up the outcomes of others.
    limit = "must be a timedelta or seconds, at most a year (366 days)"
    checked = as_timedelta("delay", delay, limit)
    if checked > MAX_SCHEDULE_AHEAD:
        raise InvalidInputError("delay", delay, limit)
    return max(checked, timedelta(0))


def _completed(result: object) -> Outcome:
    try:
        return Completed(encode_json("result", result, MAX_RESULT_BYTES))
    except InvalidInputError as error:
        # The work is done and its effects stand: running it again would not make the result storable.
        return Failed(report_of(error))


def _refusal(claim: Claim, task: AnyTask) -> ErrorReport | None:
    if claim.attempt > claim.max_attempts:
        return ErrorReport(
            "AttemptsExhausted", f"attempt {claim.attempt} of {claim.max_attempts} was not run"
        )
    if task.settings.at_most_once and claim.attempt > 1:
        return ErrorReport("AtMostOnce", "an earlier attempt may have run: this type must not run twice")
    return None


def _forget_cancellation(running: Running) -> None:
    # The runner goes on to the next job, so the cancellation that was meant for this one must not count.
    if running.stop_reason is not None and running.task is not None:
        running.task.uncancel()


def _seconds(limit: timedelta | None) -> float | None:
    return None if limit is None else limit.total_seconds()


def _begin(
    job_id: UUID, handler: _AsyncHandler, args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[_Steps, object]:
    # The first step of a handler: what it goes on with, and what it waits for. Most end here, by StopIteration.
    current_job_id.set(job_id)
    steps = handler(*args, **kwargs).__await__()
    return steps, steps.send(None)


@coroutine
def _within(
    context: Context, begin: Callable[[], tuple[_Steps, object]]
) -> Generator[object, object, object]:
    """Await a handler step by step inside a context of its own, in the same task.

    A task of its own for each job would isolate context variables too, for five times the price.
    """
    try:
        steps, waiting_for = context.run(begin)
    except StopIteration as stop:
        return stop.value
    step: Callable[[], object]
    while True:
        try:
            value = yield waiting_for
        except BaseException as error:  # noqa: BLE001 - thrown into the handler, where it belongs
            step = partial(steps.throw, error)
        else:
            step = partial(steps.send, value)
        try:
            waiting_for = context.run(step)
        except StopIteration as stop:
            return stop.value
