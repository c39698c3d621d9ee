"""The runner of a queue: starts waiting jobs as slots become free, each in an asyncio task of its own.

What a handler leaves behind on its task (a timeout that an abandoned generator still holds, a session kept by
`current_task`, context variables, a late cancellation) ends with that task and cannot reach another job
(decisions/0028).
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Final

from jobplane.events import Events, ServiceFailed
from jobplane.worker.executor import Executor
from jobplane.worker.reporter import Inbox
from jobplane.worker.slots import QueueSlots

EAGER: Final = sys.version_info >= (3, 12)
"""Whether a task can run its first step at once: a handler that never waits then costs no turn of the loop."""
FAIR_SHARE: Final = 0.0005
"""Seconds for which handlers that never wait may keep the event loop to themselves."""
START_TOGETHER: Final = 32
"""Jobs started in one turn of the loop, where tasks are not eager."""


class Runner:
    """Starts the jobs of one queue."""

    def __init__(
        self,
        slots: QueueSlots,
        executor: Executor,
        inbox: Inbox,
        slot_freed: Callable[[], None],
        events: Events,
    ) -> None:
        self._events = events
        self._slots = slots
        self._executor = executor
        self._inbox = inbox
        self._slot_freed = slot_freed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._context = Context()
        self._tasks: set[asyncio.Task[None]] = set()
        """Every task that occupies a slot."""
        self._starting: set[asyncio.Task[None]] = set()
        """Those of them that have not taken a job yet."""
        self._dispatching = self._dispatch_scheduled = False
        self.job_ended = asyncio.Event()
        """Set whenever a job ends; cleared by who waits for it."""

    def start(self) -> None:
        """Run what waits, and from now on what is handed to the slots."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            # Each job sees the context variables as they are now, and not those of the job that ended before it.
            self._context = copy_context()
            self._slots.on_put = self.dispatch
            self.dispatch()

    async def stop(self) -> None:
        """Start nothing more; handlers that still run are cancelled, and what they decide then is not waited for."""
        if self._loop is not None:
            self._loop = None
            self._slots.on_put = None
            for task in (tasks := set(self._tasks)):
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=0.2)

    def dispatch(self) -> None:
        """Start waiting jobs as far as slots are free."""
        self._dispatch_scheduled = False
        if self._loop is None or self._dispatching:
            return
        self._dispatching = True
        try:
            turn_ends = time.monotonic() + FAIR_SHARE
            while self._may_start_another():
                self._start_another(self._loop)
                if EAGER and time.monotonic() > turn_ends:
                    self._dispatch_soon()
                    break
        finally:
            self._dispatching = False

    def sweep(self) -> None:
        """Free the slots of tasks that were cancelled before their first step, and so could not free them themselves."""
        if dead := {task for task in self._starting if task.done()}:
            self._starting -= dead
            self._tasks -= dead
            self.dispatch()

    def _may_start_another(self) -> bool:
        starting = len(self._starting)
        return (
            len(self._slots.waiting) > starting
            and len(self._tasks) < self._slots.limit
            and starting < START_TOGETHER
        )

    def _start_another(self, loop: asyncio.AbstractEventLoop) -> None:
        job = _Job()
        # Not loop.create_task: a task factory of the program's may return anything, and costs a job.
        job.task = task = _make_task(self._run(job), loop, self._context.copy())
        if not task.done():
            self._tasks.add(task)
            if not EAGER:
                self._starting.add(task)

    def _dispatch_soon(self) -> None:
        if self._loop is not None and not self._dispatch_scheduled:
            self._dispatch_scheduled = True
            self._loop.call_soon(self.dispatch)

    async def _run(self, job: _Job) -> None:
        # An eager task runs its first step before anyone could say which task it is; asking costs a system call on 3.11.
        task = job.task or asyncio.current_task()
        assert task is not None  # a coroutine always runs in one
        if not EAGER:
            self._starting.discard(task)
            if not self._starting:
                self.dispatch()  # the next few, for the next turn
        slots = self._slots
        if not slots.waiting:  # handed back meanwhile
            self._tasks.discard(task)
            return
        claim = slots.waiting.popleft()
        try:
            self._inbox.put(claim, await self._executor.execute(claim, slots, task))
        except Exception as error:  # noqa: BLE001 - a mistake of ours must not cost a slot; the lease gives the job back
            self._events.emit(ServiceFailed(f"runner {slots.name}", error, 0.0))
        self._tasks.discard(task)
        slots.count_finished()
        self._slot_freed()
        self.job_ended.set()
        if not slots.waiting:
            return
        if EAGER:
            if not self._dispatching:  # else the loop over there goes on with the next
                self._dispatch_soon()
        else:
            self.dispatch()


class _Job:
    """Tells a coroutine which task runs it."""

    __slots__ = ("task",)

    def __init__(self) -> None:
        self.task: asyncio.Task[None] | None = None


def _make_task(
    coroutine: Coroutine[object, None, None], loop: asyncio.AbstractEventLoop, context: Context
) -> asyncio.Task[None]:
    name = "jobplane job"  # given: a name of its own for each would be counted and formatted
    if sys.version_info >= (3, 12):
        return asyncio.Task(coroutine, loop=loop, name=name, context=context, eager_start=True)
    return asyncio.Task(coroutine, loop=loop, name=name, context=context)
