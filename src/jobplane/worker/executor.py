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
from jobplane.events import Events, JobFinished, JobLost, JobStarted
from jobplane.job import Claim
from jobplane.outcome import (
    Completed,
    Failed,
    Lost,
    Outcome,
    Released,
)
from jobplane.task import AnyTask, Registry
from jobplane.worker.classify import decided, failed, refusal, stopped
from jobplane.worker.slots import SAFETY_MARGIN, QueueSlots, Running

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
        if (refused := refusal(claim, task)) is not None:
            return Failed(refused)
        if started >= claim.lease_ends - SAFETY_MARGIN:
            return self._lost(claim, "its lease ended before a slot was free")
        running = self._started(claim, task, slots, started, runner or asyncio.current_task())
        try:
            result = await self._call(task, running)
            outcome = decided(result, running, task)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its outcome (I19)
            if running.stop_reason is not None and isinstance(
                error, asyncio.CancelledError | JobCancelledError
            ):
                outcome = stopped(running, task, error, self._events)
            else:
                outcome = failed(error, claim, task, self._events)
            if isinstance(outcome, Lost):
                self._events.emit(JobLost(claim, "its lease could not be renewed in time"))
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
            running.begun = True  # its first step follows at once, in this task
            return _within(context, partial(_begin, running.claim.id, handler, args, kwargs))
        context.run(current_job_id.set, running.claim.id)
        return self._threads.call(running, lambda: context.run(task.handler, *args, **kwargs))

    def _lost(self, claim: Claim, reason: str) -> Lost:
        self._events.emit(JobLost(claim, reason))
        return Lost()


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
