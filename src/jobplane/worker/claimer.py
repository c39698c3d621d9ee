"""Free slots, one claim for as many as fit, hand over. Woken by notifications and finished jobs; polls as the floor."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from jobplane.events import Events, JobsClaimed
from jobplane.job import Claim
from jobplane.settings import WorkerSettings
from jobplane.store.store import Store
from jobplane.worker.service import Service, jittered
from jobplane.worker.slots import QueueSlots
from jobplane.worker.solitude import Solitude

MAX_CLAIM: Final = 1000


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
        self._may_have_more = True
        self.closed = False
        self._late: list[Claim] = []
        self._claiming = asyncio.Lock()

    def something_new(self) -> None:
        """A notification, or a job that was released: look as soon as there is room."""
        self._may_have_more = True
        self.wake()

    def slot_freed(self) -> None:
        """A job finished; look again if the queue was not empty when we last looked."""
        if self._may_have_more and self._wants_claim():
            self.wake()

    @property
    def is_claiming(self) -> bool:
        """Whether a claim is under way."""
        return self._claiming.locked()

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
        async with self._claiming:
            claims = await self._store.claim(slots.name, self._types, self._worker_id, self._lease, asked)
        if self._was_closed():
            self._late = claims
            return jittered(self._poll)
        if claims:
            slots.put(self._solitude.admit(claims))
            if self._events.wants(JobsClaimed):
                self._events.emit(JobsClaimed(slots.name, claims))
        if len(claims) == asked:
            self._may_have_more = True
        return 0.0 if self._may_have_more and self._wants_claim() else jittered(self._poll)

    def _was_closed(self) -> bool:
        return self.closed

    def _wants_claim(self) -> bool:
        # A lone free slot is filled at once; while jobs still wait here, rather half a load in one statement.
        room = self._slots.room(self._prefetch)
        return room > 0 and (
            not self._slots.waiting or room * 2 >= self._slots.limit + len(self._slots.waiting)
        )
