"""Gathers concurrent enqueue calls into one statement and one commit.

No timer: a lone call is sent at once, and calls that arrive while a statement is under way are sent together
by the next. Each caller returns only after its own job is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeAlias

from jobplane.errors import InvalidInputError, StatementError
from jobplane.job import EnqueueJobResult, NewJob

MAX_BATCH: Final = 1000
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
Insert: TypeAlias = Callable[[Sequence[NewJob]], Awaitable[Sequence[EnqueueJobResult]]]


class Batcher:
    """Turns single inserts into batches.

    Args:
        lanes: ways to insert, each for one batch at a time, answering in the order of its jobs. While one
            commits, the next is filled.
    """

    def __init__(self, lanes: Iterable[Insert]) -> None:
        self._free = list(lanes)
        self._waiting: list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]] = []
        self._flushers: set[asyncio.Task[None]] = set()

    async def insert(self, job: NewJob) -> EnqueueJobResult:
        """One job, durable on return. Raises what its own insert raised."""
        if self._free and not self._waiting:
            # Nobody to share with: spare the task switch.
            lane = self._free.pop()
            try:
                return (await lane([job]))[0]
            finally:
                self._give_back(lane)
        future: asyncio.Future[EnqueueJobResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        return await future

    def _give_back(self, lane: Insert) -> None:
        if self._waiting:
            task = asyncio.create_task(self._flush(lane), name="jobplane enqueue")
            self._flushers.add(task)
            task.add_done_callback(self._flushers.discard)
        else:
            self._free.append(lane)

    async def _flush(self, lane: Insert) -> None:
        try:
            while self._waiting:
                await _insert_all(lane, self._take())
        finally:
            self._give_back(lane)

    def _take(self) -> list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]]:
        size = taken = 0
        for job, _ in self._waiting[:MAX_BATCH]:
            size += len(job.payload)
            if taken and size > MAX_BATCH_BYTES:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch


async def _insert_all(lane: Insert, batch: list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]]) -> None:
    try:
        results = await lane([job for job, _ in batch])
    except (StatementError, InvalidInputError) as error:
        if len(batch) == 1:
            _fail(batch, error)
            return
        # One job that the database refuses must not take its neighbours with it. Ids are the clients', so
        # repeating an insert whose answer was lost makes no second job.
        for item in batch:
            await _insert_all(lane, [item])
    except Exception as error:  # noqa: BLE001 - handed to the callers
        # A server that is away is away for each of them: trying one by one would take as many times as long.
        _fail(batch, error)
    else:
        for (_, future), result in zip(batch, results, strict=True):
            if not future.done():
                future.set_result(result)


def _fail(batch: list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
