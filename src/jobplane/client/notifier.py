"""Wakes workers after a commit, debounced: a NOTIFY inside the enqueueing transactions would make them queue up.

A transaction that notifies holds a lock of the whole database until its WAL is flushed. So one connection says
once, for all jobs of the last few milliseconds, which queues have something new. Losing a wake-up costs a poll
interval, never a job.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from jobplane.errors import JobplaneError

INTERVAL: Final = 0.005
"""Seconds between two wake-ups of one process."""
_logger = logging.getLogger("jobplane.client")


class Notifier:
    """Collects the queues that have something new and says so with `notify(queue)`."""

    def __init__(self, notify: Callable[[str], Awaitable[None]]) -> None:
        self._notify = notify
        self._queues: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        self._last = 0.0

    def wake(self, queue: str) -> None:
        """Let the workers of a queue know; returns at once."""
        self._queues.add(queue)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="jobplane wake-up")

    async def settle(self) -> None:
        """Wait until everything said so far has been sent."""
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while self._queues:
            pause = self._last + INTERVAL - time.monotonic()
            if pause > 0:
                await asyncio.sleep(pause)
            queues, self._queues = self._queues, set()
            self._last = time.monotonic()
            try:
                for queue in queues:
                    await self._notify(queue)
            except JobplaneError as error:
                _logger.warning(
                    "workers were not woken (they will find the jobs at their next poll): %s", error
                )
