"""Synchronous handlers, off the event loop, in a bounded number of threads: the one place where threads are used.

A thread cannot be cancelled. A handler that ignores its context keeps its thread until it returns; the job's
outcome is decided without it, and what it does later is fenced off. Such threads do not count against the bound,
up to SPARE times as many. They are daemons, unlike those of concurrent.futures: none keeps a process from ending.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Final, TypeAlias

from jobplane import forking
from jobplane.worker.forked import end_child
from jobplane.worker.slots import Running

SPARE: Final = 3
PARTING: Final = 0.2
"""Seconds for which a handler that was told to stop, and can know it, is waited for."""
_Answer: TypeAlias = tuple[object, BaseException | None]


class Threads:
    """Threads that are started as they are needed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._serving = 0
        """Threads that take calls, or will when theirs has ended; without the stuck ones."""
        self._stuck = 0

    async def call(self, running: Running, function: Callable[[], object]) -> object:
        """Run a handler in a thread. Raises asyncio.CancelledError when it was given up."""
        call = _Call(running, function, asyncio.get_running_loop())
        running.give_up = call.give_up_soon
        self._calls.put(call)
        self._start_another()
        try:
            answer = await call.answer
        finally:
            if call.leave():
                running.thread_ended = call.ended
                self._serving -= 1
                self._stuck += 1
                self._serve_the_rest()
        if answer is None:
            raise asyncio.CancelledError
        value, error = answer
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Give up waiting threads; those that run end when their handlers do."""
        for _ in range(self._serving):
            self._calls.put(None)

    def _start_another(self) -> None:
        bound = min(self._most, self._most * (1 + SPARE) - self._stuck)
        if not self._idle.acquire(blocking=False) and self._serving < bound:
            self._serving += 1
            threading.Thread(target=self._serve, name="jobplane handler", daemon=True).start()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            if call.run():
                self._idle.release()
            else:  # nobody waited: another thread has taken the place of this one
                call.tell(self._came_back)
                call.tell(call.ended.set)
                return

    def _came_back(self) -> None:
        self._stuck -= 1
        self._serve_the_rest()

    def _serve_the_rest(self) -> None:
        if not self._calls.empty():
            self._start_another()


class _Call:
    """One run of a handler."""

    def __init__(
        self, running: Running, function: Callable[[], object], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._running = running
        self._function = function
        self._loop = loop
        self._lock = threading.Lock()
        self._ended = self._left = self._told = False
        self.ended = asyncio.Event()
        self.answer: asyncio.Future[_Answer | None] = loop.create_future()

    def run(self) -> bool:
        """In a thread: call the handler if it is still wanted; whether someone waited to the end."""
        with self._lock:
            # Under the lock: whoever has left may rely on it that a handler which has not begun never will.
            if self._left:
                return True
            self._running.begun = True
        process = forking.forks()
        answer = _guarded(self._function)
        if forking.forks() != process:
            end_child(answer[1])
        with self._lock:
            self._ended = True
            awaited = not self._left
        self.tell(lambda: self._settle(answer))
        return awaited

    def tell(self, callback: Callable[[], None]) -> None:
        """Call something on the loop."""
        with suppress(RuntimeError):  # it is closed: nobody waits
            self._loop.call_soon_threadsafe(callback)

    def give_up_soon(self) -> None:
        """Stop waiting for the handler; one that can know of it gets a moment to end."""
        if not self._told:
            self._told = True
            with self._lock:
                # A thread that comes free in this moment must not begin it any more.
                self._left = not self._running.begun
            may_know = self._running.begun and self._running.context is not None
            self._loop.call_later(PARTING if may_know else 0.0, self._settle, None)

    def leave(self) -> bool:
        """Nobody waits any more: what has not begun need not; whether a thread is left behind."""
        with self._lock:
            self._left = True
            return self._running.begun and not self._ended

    def _settle(self, answer: _Answer | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


def _guarded(function: Callable[[], object]) -> _Answer:
    # A future cannot carry StopIteration, and treats SystemExit as its own: so errors travel as values.
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - raised again on the loop's side
        return None, error
