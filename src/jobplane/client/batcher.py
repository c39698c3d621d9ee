"""Gathers concurrent enqueue calls into one statement and one commit.

No timer: a lone call is sent at once, and calls that arrive while a statement is under way are sent together
by the next. Each caller returns only after its own job is durable.

A job whose key somebody else's open transaction holds has to wait for that. It does so apart, so that it holds up neither
the jobs of its batch nor those of the next.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Protocol, TypeAlias
from uuid import UUID

from jobplane.client.turns import AsyncTurns, key_of
from jobplane.errors import InvalidInputError, StatementError
from jobplane.job import EnqueueJobResult, NewJob
from jobplane.store.doubt import Doubt
from jobplane.store.failures import is_lock_conflict

MAX_BATCH: Final = 1000
MAX_BATCH_BYTES: Final = 4 * 1024 * 1024
Insert: TypeAlias = Callable[[Sequence[NewJob]], Awaitable[Sequence[EnqueueJobResult]]]

_Batch: TypeAlias = "list[tuple[NewJob, asyncio.Future[EnqueueJobResult]]]"


class InsertApart(Protocol):
    """A way to insert that may wait; `doubt` is of an earlier try to write the same jobs."""

    def __call__(
        self, jobs: Sequence[NewJob], doubt: Doubt | None
    ) -> Awaitable[Sequence[EnqueueJobResult]]: ...


class Batcher:
    """Turns single inserts into batches.

    Args:
        lanes: ways to insert, each for one batch at a time, answering in the order of its jobs. While one
            commits, the next is filled.
        apart: a way for jobs that a lane could not write: it may wait for locks, and is told of the earlier try.
            Default: the lane again.
        turns: who may wait there at once.
        keys_wait_apart: whether jobs that may have to wait never take a lane, because lanes wait for locks as well.
    """

    def __init__(
        self,
        lanes: Iterable[Insert],
        apart: InsertApart | None = None,
        turns: AsyncTurns | None = None,
        *,
        keys_wait_apart: bool = False,
    ) -> None:
        self._free = list(lanes)
        self._apart = apart
        self._turns = AsyncTurns(1, 60) if turns is None else turns
        self._keys_wait_apart = keys_wait_apart
        self._waiting: _Batch = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def insert(self, job: NewJob) -> EnqueueJobResult:
        """One job, durable on return. Raises what its own insert raised."""
        # While somebody waits for this key already, a lane would only find that out again.
        if (self._turns and key_of(job) in self._turns) or (
            self._keys_wait_apart and key_of(job) is not None
        ):
            return (await self._insert_apart([job]))[0]
        if self._free and not self._waiting:
            # Nobody to share with: spare the task switch.
            lane = self._free.pop()
            try:
                return (await lane([job]))[0]
            except StatementError as error:
                if not self._waits(error):
                    raise
            finally:
                self._give_back(lane)
            return (await self._insert_apart([job]))[0]
        future: asyncio.Future[EnqueueJobResult] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, future))
        return await future

    def _waits(self, error: Exception) -> bool:
        return self._apart is not None and isinstance(error, StatementError) and is_lock_conflict(error)

    async def _insert_apart(
        self, jobs: Sequence[NewJob], doubt: Doubt | None = None
    ) -> Sequence[EnqueueJobResult]:
        assert self._apart is not None
        async with self._turns.of(jobs[0]):
            return await self._apart(jobs, None if doubt is None else replace(doubt))

    def _give_back(self, lane: Insert) -> None:
        if self._waiting:
            self._start(self._flush(lane))
        else:
            self._free.append(lane)

    async def _flush(self, lane: Insert) -> None:
        try:
            while self._waiting:
                await self._insert_all(lane, self._take())
        finally:
            self._give_back(lane)

    def _take(self) -> _Batch:
        size = taken = 0
        for job, _ in self._waiting[:MAX_BATCH]:
            size += len(job.payload)
            if taken and size > MAX_BATCH_BYTES:
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        return batch

    async def _insert_all(self, lane: Insert, batch: _Batch) -> None:
        began = time.monotonic()
        try:
            results = await lane([job for job, _ in batch])
        except (StatementError, InvalidInputError) as error:
            if self._waits(error):
                await self._insert_rest(lane, batch, None, one_by_one=False)
            elif len(batch) == 1:
                _fail(batch, error)
            else:
                # One job that is refused must not take its neighbours with it. A job that was found to be refused only
                # once it was looked for had neighbours that were written.
                written = Doubt(began, unanswered=True) if isinstance(error, InvalidInputError) else None
                await self._insert_rest(lane, batch, written, one_by_one=True)
        except Exception as error:  # noqa: BLE001 - handed to the callers
            # A server that is away is away for each of them: trying one by one would take as many times as long.
            _fail(batch, error)
        else:
            _answer(batch, results)

    async def _insert_rest(
        self, lane: Insert, batch: _Batch, doubt: Doubt | None, *, one_by_one: bool
    ) -> None:
        apart = self._apart
        if apart is None:
            for item in batch:
                await _settle(lane, [item])
            return
        others: _Batch = []
        seen: set[UUID] = set()
        for item in batch:
            job = item[0]
            if key_of(job) is None:
                others.append(item)
            else:
                # May have to wait for its key, which is nobody else's business. Of several calls for one id the first
                # made the job, if any of them did.
                earlier = None if job.id in seen else doubt
                self._start(_settle(partial(self._insert_apart, doubt=earlier), [item]))
            seen.add(job.id)
        parts = [[item] for item in others] if one_by_one else [others] if others else []
        for part in parts:
            # What these may have to wait for is a lock of the whole table.
            await _settle(partial(apart, doubt=None if doubt is None else replace(doubt)), part)

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(work, name="jobplane enqueue")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _settle(insert: Insert, batch: _Batch) -> None:
    """Write jobs, and tell their callers; there is no other way left for them."""
    try:
        results = await insert([job for job, _ in batch])
    except Exception as error:  # noqa: BLE001 - handed to the callers
        _fail(batch, error)
    else:
        _answer(batch, results)


def _answer(batch: _Batch, results: Sequence[EnqueueJobResult]) -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if not future.done():
            future.set_result(result)


def _fail(batch: _Batch, error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
