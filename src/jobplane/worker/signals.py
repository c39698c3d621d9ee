"""SIGTERM and SIGINT: the first asks the worker to stop in order, the second ends the process at once.

Both are the worker's own: they end a child that a handler forks, as if there were no worker.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, TypeAlias

from jobplane import forking

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_Handler: TypeAlias = "Callable[[int, FrameType | None], object] | int | signal.Handlers | None"


class _Handling:
    """Our handlers, and those that they replaced."""

    def __init__(self, request_stop: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._request_stop = request_stop
        self._asked = False
        self._before: dict[signal.Signals, _Handler] = {}

    def install(self) -> None:
        # Not the loop's own signal handlers: those wait for a handler that blocks the loop, and forget what was before.
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._handle)
        forking.renew_in_child(self._leave_to_parent)
        _in_force.add(self)

    def restore(self) -> None:
        _in_force.discard(self)
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._asked:
            os._exit(128 + number)
        self._asked = True
        self._loop.call_soon_threadsafe(self._request_stop)

    def _leave_to_parent(self) -> None:
        if self not in _in_force:
            return
        _in_force.discard(self)
        signal.set_wakeup_fd(-1)  # uvloop's: a signal to the child would be written to the parent's loop
        for number, handler in self._before.items():
            if signal.getsignal(number) != self._handle:
                continue  # the program has set its own since
            if number is signal.SIGINT and _is_asyncios(handler):
                signal.signal(number, signal.default_int_handler)
            else:
                signal.signal(number, signal.SIG_DFL if handler is None else handler)


_in_force: set[_Handling] = set()
_masks = threading.local()


@contextmanager
def stop_on_signals(request_stop: Callable[[], None]) -> Iterator[None]:
    """While inside, signals go to `request_stop`; a second one exits with 128 + its number."""
    handling = _Handling(request_stop)
    handling.install()
    try:
        yield
    finally:
        handling.restore()


def _is_asyncios(handler: _Handler) -> bool:
    # asyncio.run has set it, and it cancels the task that the parent runs.
    return isinstance(handler, functools.partial) and isinstance(
        getattr(handler.func, "__self__", None), asyncio.Runner
    )


def _hold_back() -> None:
    # A signal that reaches a child before its handlers are set would be lost: a pool of multiprocessing that ends as
    # soon as it was made waits for such a child for ever.
    if _in_force:
        _masks.before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def _let_through() -> None:
    before = vars(_masks).pop("before", None)
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


os.register_at_fork(before=_hold_back, after_in_parent=_let_through, after_in_child=_let_through)
