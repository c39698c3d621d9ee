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
        self._started = 0
        self._stuck: set[_Call] = set()

    async def call(self, running: Running, function: Callable[[], object]) -> object:
        """Run a handler in a thread. Raises asyncio.CancelledError when it was given up."""
        loop = asyncio.get_running_loop()
        call = _Call(function, loop, PARTING if running.context is not None else 0.0)
        running.give_up = call.give_up_soon
        self._calls.put(call)
        self._start_another()
        try:
            answer = await call.answer
        finally:
            if not call.ended:
                call.give_up()
                self._make_up_for(call)
        if answer is None:
            raise asyncio.CancelledError
        value, error = answer
        if error is not None:
            raise error
        return value

    def close(self) -> None:
        """Give up waiting threads; those that run end when their handlers do."""
        for _ in range(self._started):
            self._calls.put(None)

    def _start_another(self) -> None:
        self._stuck = {call for call in self._stuck if not call.ended} if self._stuck else self._stuck
        limit = self._most + min(len(self._stuck), self._most * SPARE)
        if not self._idle.acquire(blocking=False) and self._started < limit:
            self._started += 1
            threading.Thread(target=self._serve, name=f"jobplane {self._started}", daemon=True).start()

    def _make_up_for(self, call: _Call) -> None:
        if call.begun:
            self._stuck.add(call)
            if not self._calls.empty():
                self._start_another()

    def _serve(self) -> None:
        while (call := self._calls.get()) is not None:
            call.run()
            self._idle.release()


class _Call:
    """One run of a handler."""

    def __init__(
        self, function: Callable[[], object], loop: asyncio.AbstractEventLoop, parting: float
    ) -> None:
        self._function = function
        self._loop = loop
        self._parting = parting
        self._given_up = False
        self.answer: asyncio.Future[_Answer | None] = loop.create_future()
        self.begun = False
        self.ended = False

    def run(self) -> None:
        """In a thread: call the handler, unless nobody waits for it any more."""
        if not self._given_up:
            self.begun = True
            answer = _guarded(self._function)
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._settle, answer)
        self.ended = True

    def give_up_soon(self) -> None:
        """Stop waiting for the handler; one that can know of it gets a moment to end."""
        if not self._given_up:
            self._given_up = True
            self._loop.call_later(self._parting if self.begun else 0.0, self._settle, None)

    def give_up(self) -> None:
        """If it has not begun, it need not."""
        self._given_up = True

    def _settle(self, answer: _Answer | None) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


def _guarded(function: Callable[[], object]) -> _Answer:
    # A future cannot carry StopIteration, and treats SystemExit as its own: so errors travel as values.
    try:
        return function(), None
    except BaseException as error:  # noqa: BLE001 - raised again on the loop's side
        return None, error
