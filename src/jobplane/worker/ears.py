"""Hears notifications and passes them on as hints: to look at a queue, at its limit, or at a job's cancellation.

Where more of them arrive than the listener takes, the worker goes deaf on purpose: it closes the connection, polls more
often than usual, and comes back after a pause that grows while the flood lasts. So a stranger who may only connect can
cost a worker some milliseconds of latency, and next to no time of its processor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from jobplane.events import Events, ListeningPaused, ListeningResumed
from jobplane.store.database import Database
from jobplane.store.listener import WORDS_PER_SECOND, Listener, TooManyWordsError
from jobplane.wakeups import Cancel, LimitChanged, Wake, read
from jobplane.worker.claimer import Claimer
from jobplane.worker.hints import QueueHints
from jobplane.worker.service import Service, jittered

FIRST_PAUSE: Final = 5.0
LONGEST_PAUSE: Final = 60.0
"""Seconds without listening: doubled each time, since a try costs a login and what the listener takes at once."""
POLL_MEANWHILE: Final = 0.1
"""Seconds between two looks at each queue while nothing can wake the worker."""
CALM_AFTER: Final = 5.0
"""Seconds of listening after which a flood counts as over."""


class Ears(Service):
    """Keeps a LISTEN connection open. Without it jobs still start, at the next poll.

    Args:
        claimers: by the name of their queue.
        may_be_cancelled: called with the id of a job that someone may have asked to cancel.
    """

    def __init__(
        self,
        database: Database,
        claimers: Mapping[str, Claimer],
        may_be_cancelled: Callable[[UUID], None],
        events: Events,
    ) -> None:
        super().__init__("listener", events)
        self._listener = Listener(database, self._heard)
        self._claimers = claimers
        self._hints = {name: QueueHints(claimer) for name, claimer in claimers.items()}
        self._may_be_cancelled = may_be_cancelled
        self._pause = 0.0
        """Seconds of the last pause; 0 while all is calm."""
        self._paused_at = 0.0
        self._calming: asyncio.TimerHandle | None = None

    async def run_once(self) -> float:
        """Listen until the connection breaks, or until too much is heard."""
        try:
            await self._listener.listen()
        except TooManyWordsError:
            return self._stop_listening()
        finally:
            if self._calming is not None:
                self._calming.cancel()
                self._calming = None
        return 0.0

    def _heard(self, word: str | None) -> None:
        if word is None:
            self._listens()
            return
        match read(word):
            case Wake(queue=queue):
                if (hints := self._hints.get(queue)) is not None:
                    hints.something_new()
            case Cancel(job_id=job_id):
                self._may_be_cancelled(job_id)
            case LimitChanged(queue=queue):
                if (hints := self._hints.get(queue)) is not None:
                    hints.limit_changed()
            case None:
                pass  # anyone may notify on the channel

    def _listens(self) -> None:
        self.recovered()
        # Something may have been said while nobody listened.
        for claimer in self._claimers.values():
            claimer.limit_changed()
        if self._pause:
            self._calming = asyncio.get_running_loop().call_later(CALM_AFTER, self._is_calm)

    def _stop_listening(self) -> float:
        if not self._pause:
            self._paused_at = time.monotonic()
            self._poll_every(POLL_MEANWHILE)
            self._events.emit(ListeningPaused(WORDS_PER_SECOND, POLL_MEANWHILE))
        self._pause = min(self._pause * 2 or FIRST_PAUSE, LONGEST_PAUSE)
        return jittered(self._pause)

    def _is_calm(self) -> None:
        self._pause = 0.0
        self._poll_every(None)
        self._events.emit(ListeningResumed(time.monotonic() - self._paused_at))

    def _poll_every(self, seconds: float | None) -> None:
        for claimer in self._claimers.values():
            claimer.poll_every(seconds)
