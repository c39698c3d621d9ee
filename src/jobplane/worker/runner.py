"""Runners: as many tasks as a queue has slots, each taking one job after the other.

Fixed tasks instead of a task for each job: making and switching tasks costs more than a quick job does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from jobplane.events import Events, ServiceFailed
from jobplane.worker.executor import Executor
from jobplane.worker.reporter import Inbox
from jobplane.worker.slots import QueueSlots

FAIR_SHARE: Final = 0.0005
"""Seconds for which handlers that never wait may keep the event loop to themselves."""


class Runner:
    """All runners of one queue."""

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
        self._tasks: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None
        self._yielded_at = 0.0
        self.job_ended = asyncio.Event()
        """Set whenever a job ends; cleared by who waits for it."""

    def start(self) -> None:
        """Start a task for each slot."""
        if self._keeper is None:
            self._slots.idle.clear()
            self._fill()
            self._keeper = asyncio.create_task(self._keep_filled(), name="jobplane runners")

    async def stop(self) -> None:
        """End the tasks; handlers that still run are cancelled, and what they decide then is not waited for."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            tasks, self._tasks = {*self._tasks, keeper}, set()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=0.2)

    def _fill(self) -> None:
        name = f"jobplane runner {self._slots.name}"
        while len(self._tasks) < self._slots.limit:
            self._tasks.add(asyncio.create_task(self._run(), name=name))

    async def _keep_filled(self) -> None:
        # A handler may cancel the very task that runs it: the slot must not go with it.
        while True:
            _, self._tasks = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            self._fill()

    async def _run(self) -> None:
        slots, inbox, execute = self._slots, self._inbox, self._executor.execute
        me = asyncio.current_task()
        assert me is not None  # a coroutine always runs in one
        while not me.cancelling():
            if not slots.waiting:
                idle: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                slots.idle.append(idle)
                await idle
                self._yielded_at = time.monotonic()
                continue
            claim = slots.waiting.popleft()
            try:
                inbox.put(claim, await execute(claim, slots, me))
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not cost a slot; the lease gives the job back
                self._events.emit(ServiceFailed(f"runner {slots.name}", error, 0.0))
            slots.count_finished()
            self._slot_freed()
            self.job_ended.set()
            if time.monotonic() - self._yielded_at > FAIR_SHARE:
                await asyncio.sleep(0)
                self._yielded_at = time.monotonic()
