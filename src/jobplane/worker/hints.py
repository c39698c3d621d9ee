"""Passes what is heard about one queue to its claimer, so often and no oftener.

Anyone who may connect can say that a queue has something new. Each look costs a statement, so hints that come too
quickly wait for each other: the last one is never lost, only later by some milliseconds.
"""

from __future__ import annotations

import asyncio
from typing import Final

from jobplane.token_bucket import TokenBucket
from jobplane.worker.claimer import Claimer

LOOKS_PER_SECOND: Final = 200
"""As often as one client's wake-ups come at most (every 5 ms); an empty look takes the worker some 0.5 ms."""
LOOKS_AT_ONCE: Final = 50


class QueueHints:
    """The hints about one queue."""

    def __init__(self, claimer: Claimer) -> None:
        self._claimer = claimer
        self._budget = TokenBucket(LOOKS_PER_SECOND, LOOKS_AT_ONCE)
        self._limit_changed = False
        self._later: asyncio.TimerHandle | None = None

    def something_new(self) -> None:
        """The queue may have something new."""
        if self._later is not None:
            return
        if self._budget.take():
            self._pass_on()
        else:
            self._later = asyncio.get_running_loop().call_later(
                self._budget.seconds_until_next(), self._pass_on_later
            )

    def limit_changed(self) -> None:
        """The queue's limit may have changed."""
        self._limit_changed = True
        self.something_new()

    def _pass_on_later(self) -> None:
        self._later = None
        self._budget.take()
        self._pass_on()

    def _pass_on(self) -> None:
        if self._limit_changed:
            self._limit_changed = False
            self._claimer.limit_changed()
        else:
            self._claimer.something_new()
