"""Wake-ups of the synchronous client."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from jobplane.errors import DatabaseError

_logger = logging.getLogger("jobplane.client")
WAKE_INTERVAL: Final = 0.005
"""Seconds between two wake-ups of one process."""


class Waker:
    """Sends wake-ups at most every few milliseconds, the last one included. Safe to share between threads."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self._notify = notify
        self._words: set[str] = set()
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._last = 0.0

    def wake(self, word: str) -> None:
        """Send a word now, or with the others in a moment."""
        with self._lock:
            self._words.add(word)
            if self._timer is not None:
                return
            pause = self._last + WAKE_INTERVAL - time.monotonic()
            if pause > 0:
                self._timer = threading.Timer(pause, self.flush)
                self._timer.daemon = True
                self._timer.start()
                return
        self.flush()

    def flush(self) -> None:
        """Send what is waiting."""
        with self._lock:
            words, self._words = self._words, set()
            self._timer = None
            self._last = time.monotonic()
        try:
            for word in words:
                self._notify(word)
        except DatabaseError as error:
            _logger.warning("workers were not woken (they will find the jobs at their next poll): %s", error)
