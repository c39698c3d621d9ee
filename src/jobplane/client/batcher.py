"""Gathers concurrent enqueue calls into one statement and one commit.

No timer: a lone call is sent at once, and calls that arrive while a statement is under way are sent together
by the next. Each caller returns only after its own job is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from jobplane.job import EnqueueJobResult, NewJob

MAX_BATCH: Final = 1000
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
FLUSHERS: Final = 2
"""Statements under way at once: while one commits, the next is filled."""


class Batcher:
    """Turns single inserts into batches. `insert_many` answers in the order of its jobs."""

    def __init__(
        self, insert_many: Callable[[Sequence[NewJob]], Awaitable[Sequence[EnqueueJobResult]]]
    ) -> None:
        self._insert_many = insert_many
        self._waiting: list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]] = []
        self._flushers: set[asyncio.Task[None]] = set()

    async def insert(self, job: NewJob) -> EnqueueJobResult:
        """One job, durable on return. Raises what its own insert raised."""
        if not self._waiting and not self._flushers:
            # Nobody to share with: spare the task switch.
            return (await self._alone(job))[0]
        future: asyncio.Future[EnqueueJobResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        self._ensure_flushers()
        return await future

    async def _alone(self, job: NewJob) -> Sequence[EnqueueJobResult]:
        marker = asyncio.current_task()
        assert marker is not None  # noqa: S101 - a coroutine always runs in a task
        self._flushers.add(marker)
        try:
            return await self._insert_many([job])
        finally:
            self._flushers.discard(marker)
            self._ensure_flushers()

    def _ensure_flushers(self) -> None:
        if self._waiting and len(self._flushers) < FLUSHERS:
            task = asyncio.create_task(self._flush(), name="jobplane enqueue")
            self._flushers.add(task)
            task.add_done_callback(self._flushers.discard)

    async def _flush(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                results = await self._insert_many([job for job, _ in batch])
            except Exception as error:  # noqa: BLE001 - handed to the callers
                await self._settle_singly(batch, error)
            else:
                for (_, future), result in zip(batch, results, strict=True):
                    if not future.done():
                        future.set_result(result)

    async def _settle_singly(
        self, batch: list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]], error: Exception
    ) -> None:
        # One job that the database refuses must not take its neighbours with it. Ids are the clients', so
        # repeating an insert whose answer was lost makes no second job.
        for job, future in batch:
            if future.done():
                continue
            if len(batch) == 1:
                future.set_exception(error)
                continue
            try:
                future.set_result((await self._insert_many([job]))[0])
            except Exception as own:  # noqa: BLE001 - handed to its caller
                future.set_exception(own)

    def _take(self) -> list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]]:
        size = taken = 0
        for job, _ in self._waiting[:MAX_BATCH]:
            size += len(job.payload)
            if taken and size > MAX_BATCH_BYTES:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch
