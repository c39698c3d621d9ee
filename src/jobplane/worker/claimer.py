"""Free slots, one claim for as many as fit, hand over. Woken by notifications and finished jobs; polls as the floor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Final

from jobplane.events import Events, JobsClaimed
from jobplane.job import Claim
from jobplane.settings import WorkerSettings
from jobplane.store.store import Store
from jobplane.worker.limit import QueueLimit
from jobplane.worker.low_water import LowWater
from jobplane.worker.service import Service, jittered
from jobplane.worker.slots import QueueSlots
from jobplane.worker.solitude import Solitude

MAX_CLAIM: Final = 2000


class Claimer(Service):
    """Claims for one queue."""

    def __init__(
        self,
        slots: QueueSlots,
        store: Store,
        solitude: Solitude,
        events: Events,
        settings: WorkerSettings,
        worker_id: str,
        types: Sequence[str],
    ) -> None:
        super().__init__(f"claimer {slots.name}", events)
        self._slots = slots
        self._store = store
        self._solitude = solitude
        self._worker_id = worker_id
        self._types = list(types)
        self._lease = settings.lease
        self._poll = settings.poll_interval.total_seconds()
        self._prefetch = settings.prefetch.total_seconds()
        self._limit = QueueLimit(slots.name, self._types, worker_id, settings.lease, self._poll, store)
        self._may_have_more = True
        self._low_water = LowWater(self._poll)
        self._passed_over = False
        """Whether the last claim left out what comes before its marks."""
        self.closed = False
        self._late: list[Claim] = []
        self._claiming = asyncio.Lock()

    def something_new(self) -> None:
        """A notification, or a job that was released: look as soon as there is room."""
        self._may_have_more = True
        self.wake()

    def limit_changed(self) -> None:
        """Someone set or lifted the queue's limit, or may have."""
        self._limit.changed()
        self.something_new()

    def slot_freed(self) -> None:
        """A job finished; look again if the queue was not empty when we last looked."""
        more = self._may_have_more or (self._passed_over and self._low_water.full_is_due())
        # Where the queue has a limit, the job counts until its outcome is written.
        if more and not self._limit.known and self._wants_claim():
            self.wake()

    @property
    def is_claiming(self) -> bool:
        """Whether a claim is under way."""
        return self._claiming.locked()

    def written(self, claims: Iterable[Claim]) -> None:
        """Outcomes are durable: under a limit that makes room for other jobs."""
        if self._limit.known and (ours := sum(claim.queue == self._slots.name for claim in claims)):
            self._limit.freed(ours)
            self.something_new()

    async def finish_claim(self, seconds: float) -> list[Claim]:
        """Let a claim that is under way end, at most so long, and stop; returns what it brought, to be handed back."""
        self.closed = True
        # When the database does not answer, what it claimed comes back by its lease.
        with suppress(TimeoutError):
            await asyncio.wait_for(self._claiming.acquire(), seconds)
        await self.stop()
        return self._late

    async def run_once(self) -> float:
        """One claim, if there is room for a worthwhile one."""
        slots = self._slots
        slots.measure_pace()
        if self.closed or not self._types or self._solitude.wanted or not self._wants_claim():
            return jittered(self._poll)
        asked = min(slots.room(self._prefetch), MAX_CLAIM)
        self._may_have_more = False  # unless someone says otherwise while the statement is under way
        self._passed_over = False
        async with self._claiming:
            claims = await self._claim(asked)
        if self._was_closed():
            self._late = claims
            return jittered(self._poll)
        if claims:
            slots.put(self._solitude.admit(claims))
            if self._events.wants(JobsClaimed):
                self._events.emit(JobsClaimed(slots.name, claims))
        if len(claims) == asked:
            self._may_have_more = True
        if self._may_have_more and self._wants_claim():
            return 0.0
        pause = jittered(self._poll) if self._limit.again is None else self._limit.again
        return min(pause, self._low_water.seconds_until_full()) if self._passed_over else pause

    async def _claim(self, asked: int) -> list[Claim]:
        limit = self._limit
        limit.again = None
        if not limit.known:
            claims = await self._claim_unlimited(asked)
            if claims or not limit.worth_asking:
                return claims
        # Nothing is claimed ahead here: a job that waits in this process would hold a slot of all processes.
        return await limit.claim(min(self._slots.room(0.0), MAX_CLAIM))

    async def _claim_unlimited(self, asked: int) -> list[Claim]:
        beyond, began = self._low_water.marks(), time.monotonic()
        claims = await self._store.claim(
            self._slots.name, self._types, self._worker_id, self._lease, asked, beyond=beyond
        )
        filled = len(claims) == asked
        self._low_water.claimed(claims, time.monotonic() - began, full=not beyond, filled=filled)
        self._passed_over = bool(beyond)
        return claims

    def _was_closed(self) -> bool:
        return self.closed

    def _wants_claim(self) -> bool:
        # A lone free slot is filled at once; while jobs still wait here, rather half a load in one statement.
        if self._limit.known:
            return self._slots.room(0.0) > 0
        room = self._slots.room(self._prefetch)
        return room > 0 and (
            not self._slots.waiting or room * 2 >= self._slots.limit + len(self._slots.waiting)
        )
