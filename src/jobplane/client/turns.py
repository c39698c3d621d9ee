"""Who may wait on a connection for a key that somebody else's open transaction holds.

PostgreSQL lets an insert wait until the transaction that inserted the same key has ended, for minutes if need be. A client
has few connections, so of the callers with one key only one waits there, and all of them together use at most half of the
pool: other jobs, and reads, always find a connection.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from jobplane.errors import DatabaseUnavailableError, shown
from jobplane.job import NewJob
from jobplane.settings import DatabaseSettings

L = TypeVar("L", asyncio.Lock, threading.Lock)


def key_of(job: NewJob) -> Hashable | None:
    """What a job may have to wait for; None for a job that nobody else can be writing."""
    if job.unique_key is not None:
        return job.tenant, job.unique_key
    return None if job.fresh else job.id


@dataclass(slots=True)
class _Turn(Generic[L]):
    lock: L
    callers: int = 0
    """Who has it or waits for it."""


class AsyncTurns:
    """Turns of the callers of one event loop.

    Args:
        room: how many may wait on a connection at once.
        patience: how long a caller waits for its turn; seconds.
    """

    def __init__(self, room: int, patience: float) -> None:
        self._room = asyncio.Semaphore(room)
        self._patience = patience
        self._of: dict[Hashable, _Turn[asyncio.Lock]] = {}

    def __bool__(self) -> bool:
        return bool(self._of)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._of

    @asynccontextmanager
    async def of(self, job: NewJob) -> AsyncIterator[None]:
        """Inside, it is this job's turn. Raises DatabaseUnavailableError when that takes too long."""
        # A job without a key waits for a table, for which it needs no turn of its own, only room.
        known = key_of(job)
        key = object() if known is None else known
        turn = self._of.setdefault(key, _Turn(asyncio.Lock()))
        turn.callers += 1
        end = asyncio.get_running_loop().time() + self._patience
        try:
            await _acquired(turn.lock, end, job)
            try:
                await _acquired(self._room, end, job)
                try:
                    yield
                finally:
                    self._room.release()
            finally:
                turn.lock.release()
        finally:
            turn.callers -= 1
            if not turn.callers:
                del self._of[key]


@dataclass(slots=True)
class _Kept:
    process: int
    room: threading.Semaphore
    patience: float
    guard: threading.Lock = field(default_factory=threading.Lock)
    turns: dict[Hashable, _Turn[threading.Lock]] = field(default_factory=dict)


class Turns:
    """Turns of the threads of one client; see AsyncTurns.

    Args:
        settings: asked at first use for the size of the pool and for patience.
    """

    def __init__(self, settings: Callable[[], DatabaseSettings]) -> None:
        self._settings = settings
        self._kept: _Kept | None = None

    @contextmanager
    def of(self, job: NewJob) -> Iterator[None]:
        """Inside, it is this job's turn; at once for a job that can wait for nobody."""
        key = key_of(job)
        if key is None:
            yield
            return
        kept = self._kept
        if kept is None or kept.process != os.getpid():
            # In a forked child, turns that threads of the parent had would never end.
            settings = self._settings()
            room = threading.Semaphore(max(settings.pool_max // 2, 1))
            kept = self._kept = _Kept(os.getpid(), room, settings.patience.total_seconds())
        end = time.monotonic() + kept.patience
        with kept.guard:
            turn = kept.turns.setdefault(key, _Turn(threading.Lock()))
            turn.callers += 1
        try:
            if not turn.lock.acquire(timeout=kept.patience):
                raise _held(job)
            try:
                if not kept.room.acquire(timeout=max(end - time.monotonic(), 0)):
                    raise _held(job)
                try:
                    yield
                finally:
                    kept.room.release()
            finally:
                turn.lock.release()
        finally:
            with kept.guard:
                turn.callers -= 1
                if not turn.callers:
                    del kept.turns[key]


async def _acquired(what: asyncio.Lock | asyncio.Semaphore, end: float, job: NewJob) -> None:
    try:
        async with asyncio.timeout_at(end):
            await what.acquire()
    except TimeoutError:
        raise _held(job) from None


def _held(job: NewJob) -> DatabaseUnavailableError:
    what = f"unique key {shown(job.unique_key)}" if job.unique_key is not None else f"id {job.id}"
    return DatabaseUnavailableError(
        f"{what}: an open transaction that enqueued it holds up everybody else with it; nothing was written. End that "
        "transaction (jobplane doctor names old ones), then try again."
    )
