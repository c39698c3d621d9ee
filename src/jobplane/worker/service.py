"""The loop of every service, written once: do something, then say how long to sleep.

A service that fails says so, waits with growing pauses, and goes on: no loop of a worker ends by itself.
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from typing import Final

from jobplane.events import DatabaseRecovered, Events, ServiceFailed

STOP_WITHIN: Final = 0.1
"""Seconds for a cancelled service to end."""
FIRST_PAUSE: Final = 0.05
MOST_PAUSE: Final = 2.0
"""Seconds between tries while a service fails: doubling, with full jitter."""


class Service(ABC):
    """One duty of a worker. Starting twice, stopping unstarted and stopping twice are all fine."""

    def __init__(self, name: str, events: Events) -> None:
        self.name = name
        self._events = events
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    @abstractmethod
    async def run_once(self) -> float:
        """Do what there is to do; return how many seconds to sleep unless woken."""

    def start(self) -> None:
        """Begin the loop in a task of its own."""
        if self._task is None:
            self._task = asyncio.create_task(self._loop(), name=f"jobplane {self.name}")

    def wake(self) -> None:
        """Cut the sleep short."""
        self._woken.set()

    async def stop(self) -> None:
        """End the loop, wherever it is, and wait a moment until it has ended.

        No longer than that: over a broken network the driver waits for the server to confirm that a
        statement is cancelled. What is stuck there ends when its connection is closed.
        """
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=STOP_WITHIN)

    def recovered(self) -> None:
        """It works again: the next failure is the first."""
        if self._failures:
            self._failures = 0
            self._events.emit(DatabaseRecovered(self.name))

    async def _loop(self) -> None:
        while True:
            self._woken.clear()
            try:
                pause = await self.run_once()
            except Exception as error:  # noqa: BLE001 - reported as an event; the loop must go on
                pause = self._pause_after(error)
                await asyncio.sleep(pause)
                continue
            self.recovered()
            if pause > 0 and not self._woken.is_set():
                await wait_for_event(self._woken, pause)

    def _pause_after(self, error: BaseException) -> float:
        self._failures += 1
        pause = random.uniform(0.01, min(FIRST_PAUSE * 2**self._failures, MOST_PAUSE))  # noqa: S311 - spread, not secrecy
        self._events.emit(ServiceFailed(self.name, error, pause))
        return pause


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until the event is set, at most so long; returns whether it is."""
    loop = asyncio.get_running_loop()
    # Cheaper than asyncio.wait_for, which makes a task of its own: a timer that sets a future.
    timer = loop.call_later(seconds, _set_quietly, done := loop.create_future())
    waiter = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiter, done), return_when=asyncio.FIRST_COMPLETED)
    finally:
        timer.cancel()
        waiter.cancel()
    return event.is_set()


def _set_quietly(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def jittered(seconds: float) -> float:
    """A pause of about so long, so that a fleet does not march in step."""
    return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - spread, not secrecy
