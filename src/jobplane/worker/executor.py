"""One job, from claim to outcome: resolve the handler, decode its arguments, run it, and classify what came of it.

This is the central file. Nothing here touches the database: an Outcome comes out, and the reporter writes it. Nothing
that a handler does may escape from `execute`, except the death of the process.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, cast

from jobplane.context import JobCancelledError, JobContext, current_job_id
from jobplane.events import Events, JobFinished, JobLost, JobStarted, ResultNotStored
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
from jobplane.worker.left_behind import outcome_apart
from jobplane.worker.slots import QueueSlots, Running, safety_margin
from jobplane.worker.unfinished import ended

if TYPE_CHECKING:
    from jobplane.worker.threads import Threads


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
        lease: timedelta,
        report_progress: Callable[[Claim, str], None],
    ) -> None:
        self._registry = registry
        self._threads = threads
        self._events = events
        self._timeout = _seconds(timeout)
        self._margin = safety_margin(lease)
        self._report_progress = report_progress

    async def execute(self, claim: Claim, slots: QueueSlots, job: asyncio.Task[None]) -> Outcome:
        """Run one job's handler and say what came of it. Never raises.

        `job` is the task that this runs in and that is cancelled to stop the handler. It must run nothing else: what the
        handler leaves behind on it must not reach another job.
        """
        started = time.monotonic()
        task = self._registry.get(claim.type)
        if task is None:
            # The claim asks for known types only, so this is a registry that changed under way.
            return Released()
        if (refused := refusal(claim, task)) is not None:
            return Failed(refused)
        if started >= claim.lease_ends - self._margin:
            return self._lost(claim, "its lease ended before a slot was free")
        running = self._started(claim, task, slots, started, job)
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
            if running.thread_ended is not None:
                outcome = await outcome_apart(outcome, running, running.thread_ended)
        finally:
            if slots.running.get(claim.id) is running:  # and not a later claim of the same job
                del slots.running[claim.id]
        self._tell(claim, outcome, time.monotonic() - started)
        return outcome

    # -- running -------------------------------------------------------------------------------------

    def _started(
        self,
        claim: Claim,
        task: AnyTask,
        slots: QueueSlots,
        now: float,
        job: asyncio.Task[None],
    ) -> Running:
        own = task.settings.timeout
        seconds = self._timeout if own is None else _seconds(own)
        running = Running(
            claim=claim,
            task=job if task.is_async else None,
            deadline=math.inf if seconds is None else now + seconds,
            started=now,
        )
        if task.arguments.wants_context:
            running.context = JobContext(claim, seconds, self._report_progress)
        slots.running[claim.id] = running
        if self._events.wants(JobStarted):
            self._events.emit(JobStarted(claim))
        return running

    async def _call(self, task: AnyTask, running: Running) -> object:
        kwargs = task.arguments.decode(running.claim.payload)
        args = () if running.context is None else (running.context,)
        current_job_id.set(running.claim.id)
        if task.is_async:
            running.begun = True
            result = await cast("_AsyncHandler", task.handler)(*args, **kwargs)
            return result if result is None else await ended(result, copy_context())
        context = copy_context()
        result = await self._threads.call(running, lambda: context.run(task.handler, *args, **kwargs))
        return result if result is None else await self._ended_on_loop(result, running, context)

    async def _ended_on_loop(self, result: object, running: Running, context: Context) -> object:
        # What a synchronous function returned may be work still to be done: from here on it can be cancelled.
        running.give_up = None
        running.task = asyncio.current_task()
        if running.stop_reason is not None and running.task is not None:
            running.task.cancel()
        return await ended(result, context)

    def _tell(self, claim: Claim, outcome: Outcome, seconds: float) -> None:
        if isinstance(outcome, Completed) and outcome.not_stored is not None:
            self._events.emit(ResultNotStored(claim, outcome.not_stored.message))
        if isinstance(outcome, Lost):
            self._events.emit(JobLost(claim, "its lease could not be renewed in time"))
        if self._events.wants(JobFinished):
            self._events.emit(JobFinished(claim, outcome, seconds))

    def _lost(self, claim: Claim, reason: str) -> Lost:
        self._events.emit(JobLost(claim, reason))
        return Lost()


def _seconds(limit: timedelta | None) -> float | None:
    return None if limit is None else limit.total_seconds()
