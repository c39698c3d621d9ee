"""Synchronous handlers, off the event loop, in a bounded pool of threads: the one place where threads are used.

A thread cannot be cancelled. A handler that ignores its context keeps its thread until it returns; the job's
outcome is decided without it, and what it does later is fenced off. Such threads do not count against the bound,
up to SPARE times as many.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from jobplane.worker.slots import Running

SPARE: Final = 3


class Threads:
    """A pool that is made when the first synchronous handler runs."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = asyncio.Semaphore(most)
        self._pool: ThreadPoolExecutor | None = None

    async def call(self, running: Running, function: Callable[[], object]) -> object:
        """Run a handler in a thread. Raises asyncio.CancelledError when it was abandoned."""
        loop = asyncio.get_running_loop()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._most * (1 + SPARE), thread_name_prefix="jobplane")
        running.abandoned = abandoned = loop.create_future()
        async with self._free:
            work = loop.run_in_executor(self._pool, _guarded, function)
            await asyncio.wait((work, abandoned), return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()  # if it still waits for a thread, it need not start
            raise asyncio.CancelledError
        value, error = work.result()
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Give up waiting threads; those that run end when their handlers do."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)


def _guarded(function: Callable[[], object]) -> tuple[object, BaseException | None]:
    # A future cannot carry StopIteration, and treats SystemExit as its own: so errors travel as values.
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - raised again on the loop's side
        return None, error
