"""Children that tests fork: each does one thing, answers over a pipe, and ends at once."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Final

PATIENCE: Final = 30
"""Seconds after which a child that hangs is ended, and the test with it."""


class Child:
    """A process that is forked here, by the calling thread, while other threads go on.

    `action` runs in the child; what it returns must be JSON, and comes back by `answer`.
    """

    def __init__(self, action: Callable[[], object]) -> None:
        self._read, write = os.pipe()
        self._status: int | None = None
        self.pid = fork()
        if self.pid == 0:
            _act(action, write)
        os.close(write)

    def answer(self) -> object:
        """What the action returned. Fails with the child's traceback if it raised, or if it does not answer."""
        text = b""
        end = time.monotonic() + PATIENCE
        while not text.endswith(b"\n"):
            ready, _, _ = select.select([self._read], [], [], max(end - time.monotonic(), 0))
            assert ready, f"the child {self.pid} does not answer"
            chunk = os.read(self._read, 1 << 16)
            assert chunk, f"the child {self.pid} ended without an answer: {self.status()}"
            text += chunk
        os.close(self._read)
        self.status()
        answered = json.loads(text)
        assert "returned" in answered, answered["raised"]
        return answered["returned"]

    def status(self) -> int:
        """Wait until it has ended; its exit code (negative: the signal that killed it)."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._status


def fork() -> int:
    """os.fork, which newer Pythons warn of where threads run: that is what these tests are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _act(action: Callable[[], object], write: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # pytest-timeout's
    signal.alarm(PATIENCE)
    try:
        answered: dict[str, object] = {"returned": action()}
    except BaseException:  # noqa: BLE001 - told to the parent
        answered = {"raised": traceback.format_exc()}
    try:
        os.write(write, json.dumps(answered).encode() + b"\n")
    finally:
        os._exit(0)
