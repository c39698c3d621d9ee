"""Runs a job that may have crashed earlier workers on its own, so that another crash can be blamed on it (decisions/0026).

A first crash isolates nobody: a lost machine costs no concurrency. But a job that the next crash would fail waits here
until nothing else runs in this worker. Nothing is claimed meanwhile, and what was claimed beside it is handed back.
Before such a job begins, the database is told so: without that note, a rescue knows that it never began.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Final
from uuid import UUID

from jobplane.events import Events, JobLost, JobSetApart
from jobplane.failure import ErrorReport
from jobplane.job import Claim
from jobplane.outcome import Cancelled, Outcome, Released, Snoozed
from jobplane.settings import WorkerSettings
from jobplane.store.store import Store
from jobplane.worker.reporter import Inbox
from jobplane.worker.service import Service
from jobplane.worker.slots import QueueSlots

DRAIN: Final = 10.0
"""Seconds for which a worker claims nothing, waiting for its other handlers to end."""
AGAIN: Final = 60.0
"""Seconds after which a job that could not be alone may be claimed again, by whoever is idle then."""
LOOK: Final = 0.02
"""Seconds between two looks at what still runs."""


class Solitude(Service):
    """At most one job at a time.

    Args:
        slots: all queues of the worker.
        inbox: where outcomes wait; a job is not alone before those of others are written.
        store: where the beginning of a lone job is noted.
        claiming: whether a claim is under way that may bring company.
        resume: called when claims may go on.
    """

    def __init__(
        self,
        slots: Sequence[QueueSlots],
        inbox: Inbox,
        store: Store,
        settings: WorkerSettings,
        claiming: Callable[[], bool],
        resume: Callable[[], None],
        events: Events,
    ) -> None:
        super().__init__("solitude", events)
        self._slots = slots
        self._inbox = inbox
        self._store = store
        self._crash_limit = settings.crash_limit
        self._poll = settings.poll_interval.total_seconds()
        self._claiming = claiming
        self._resume = resume
        self._apart: Claim | None = None
        self._gives_up_at = 0.0
        self.wanted = False
        """Whether a job waits to be alone, or is: claim nothing."""

    def admit(self, claims: list[Claim]) -> list[Claim]:
        """What of a fresh claim may run now: nearly always all."""
        if not self.wanted:
            suspects = [claim for claim in claims if claim.crashes and self._is_last_try(claim)]
            if not suspects:
                return claims
            self._set_apart(suspects[0])
        # Company in hand, even before it starts, would make the crash nobody's.
        for claim in claims:
            if claim is not self._apart:
                self._inbox.put(claim, self._put_off() if claim.crashes else Released())
        return []

    def held(self) -> Iterator[Claim]:
        """The job that waits to be alone, whose lease is worth renewing."""
        apart = self._apart
        if apart is not None:
            yield apart

    def lose(self, job_id: UUID, epoch: int) -> None:
        """It was taken back."""
        apart = self._apart
        if apart is not None and apart.id == job_id and apart.epoch == epoch:
            self._events.emit(JobLost(apart, "it was taken back before it started"))
            self._end()

    def cancel(self, job_id: UUID, epoch: int) -> None:
        """Someone wants it stopped."""
        apart = self._apart
        if apart is not None and apart.id == job_id and apart.epoch == epoch:
            self._hand_back(Cancelled(ErrorReport("Cancelled", "cancelled before it started")))

    def hand_back(self) -> int:
        """The worker stops; returns how many were waiting."""
        if self._apart is None:
            return 0
        self._hand_back(Released())
        return 1

    async def run_once(self) -> float:
        """Let it run once it is alone, and the others when it has ended."""
        if not self.wanted:
            return 3600.0
        busy = any(slots.waiting or slots.running for slots in self._slots) or bool(self._inbox.writing)
        if busy or self._claiming():
            if self._apart is not None and time.monotonic() > self._gives_up_at:
                self._hand_back(Snoozed(timedelta(seconds=AGAIN * random.uniform(0.8, 1.2))))  # noqa: S311 - spread, not secrecy
            return LOOK
        apart = self._apart
        if apart is None:
            self._end()
            return 3600.0
        ours = await self._store.isolate(apart)
        if self._apart is not apart:  # cancelled, lost or handed back meanwhile
            return LOOK
        if not ours:
            self.lose(apart.id, apart.epoch)
            return LOOK
        self._apart = None
        next(slots for slots in self._slots if slots.name == apart.queue).put([apart])
        return LOOK

    def _is_last_try(self, claim: Claim) -> bool:
        return claim.attempt >= claim.max_attempts or claim.crashes + 1 >= self._crash_limit

    def _set_apart(self, claim: Claim) -> None:
        self._apart = claim
        self._gives_up_at = time.monotonic() + DRAIN
        self.wanted = True
        for slots in self._slots:
            while slots.waiting:
                self._inbox.put(slots.waiting.popleft(), Released())
        self._events.emit(JobSetApart(claim))
        self.wake()

    def _put_off(self) -> Outcome:
        # Others of its kind would only meet it here again.
        return Snoozed(timedelta(seconds=self._poll * random.uniform(1, 2)))  # noqa: S311 - spread, not secrecy

    def _hand_back(self, outcome: Outcome) -> None:
        if self._apart is not None:
            self._inbox.put(self._apart, outcome)
            self._end()

    def _end(self) -> None:
        self._apart = None
        self.wanted = False
        self._resume()
