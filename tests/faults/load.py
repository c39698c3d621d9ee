"""Clients that enqueue for as long as a scenario disturbs, each job under a key, again until there is an answer."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Final, Self

import asyncpg

from tests.faults.clients import JournallingClient
from tests.faults.run import FaultRun

AT_ONCE: Final = 64
"""Jobs that may wait: the load follows the pace of the workers, so that settling takes no longer than they do."""
AWAY: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What asking the server says while it goes or comes; the last is the driver's word for a goodbye at a bad moment."""


class Load:
    """`async with Load(run, 4) as load:` enqueues jobs of `work` until the block ends.

    Args:
        run: the scenario.
        clients: how many enqueue at once.
        client: whose calls they are; default: the run's own.
        seconds: how long a job takes.
    """

    def __init__(
        self, run: FaultRun, clients: int, *, client: JournallingClient | None = None, seconds: float = 0.05
    ) -> None:
        self._run = run
        self._count = clients
        self._client = client or run.client
        self._seconds = seconds
        self._over = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.enqueued = 0
        """Wishes that were answered."""

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._enqueue(number)) for number in range(self._count)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if error is not None:
            for task in self._tasks:
                task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=error is not None)

    async def _enqueue(self, number: int) -> None:
        count = 0
        while not self._over.is_set():
            key, payload = f"load {number} {count}", {"seconds": self._seconds}
            await self._client.enqueue_surely("work", payload, key=key, max_attempts=50)
            self.enqueued += 1
            count += 1
            if count % (AT_ONCE // self._count) == 0:
                await self._until_few_wait()

    async def _until_few_wait(self) -> None:
        while not self._over.is_set():
            try:
                if await self._run.count("pending") < AT_ONCE:
                    return
            except AWAY:
                return  # so it is for the enqueueing, which waits by itself
            await asyncio.sleep(0.05)
