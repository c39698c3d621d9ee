"""Free slots, one claim for as many as fit, hand over. Woken by notifications and finished jobs; polls as the floor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from jobplane.events import Events, JobsClaimed
from jobplane.job import Claim
from jobplane.settings import WorkerSettings
from jobplane.store.store import Store
from jobplane.worker.limit import QueueLimit
from jobplane.worker.look_back import LookBack
from jobplane.worker.low_water import LowWater, Mark
from jobplane.worker.service import Service, jittered
from jobplane.worker.slots import QueueSlots
from jobplane.worker.solitude import Solitude

MAX_CLAIM: Final = 2000
LOOK_SHARE: Final = 4
"""One part in so many of the room is kept for what a look back may bring."""


class Claimer(Service):
    """Claims for one queue."""

    def __init__(
        self,
        slots: QueueSlots,
        store: Store,
        second: Store,
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
        self._poll = self._calm_poll = settings.poll_interval.total_seconds()
        self._prefetch = settings.prefetch.total_seconds()
        self._limit = QueueLimit(slots.name, self._types, worker_id, settings.lease, self._poll, store)
        self._may_have_more = True
        self._low_water = LowWater(self._poll)
        self._look_back = LookBack(
            self.name, partial(self._claim_over, second, ()), self._looked_back, self._low_water, events
        )
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

    def poll_every(self, seconds: float | None) -> None:
        """Look at least this often, while nothing can wake this claimer; None: as the settings say."""
        self._poll = self._calm_poll if seconds is None else min(seconds, self._calm_poll)
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
        return self._claiming.locked() or self._look_back.under_way

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
            async with asyncio.timeout(seconds):
                await self._claiming.acquire()
                await self._look_back.ended()
        await self.stop()
        return self._late

    async def stop(self) -> None:
        """As of any service; a look back ends too."""
        await super().stop()
        await self._look_back.stop()

    async def run_once(self) -> float:
        """One claim, if there is room for a worthwhile one."""
        slots = self._slots
        slots.measure_pace()
        if self.closed or not self._types or self._solitude.wanted or not self._wants_claim():
            return jittered(self._poll)
        asked = min(self._room(self._prefetch), MAX_CLAIM)
        self._may_have_more = False  # unless someone says otherwise while the statement is under way
        self._passed_over = False
        async with self._claiming:
            claims, filled = await self._claim(asked)
        self._take(claims)
        if self._was_closed():
            return jittered(self._poll)
        if filled:
            self._may_have_more = True
        if self._may_have_more and self._wants_claim():
            return 0.0
        pause = jittered(self._poll) if self._limit.again is None else self._limit.again
        return min(pause, self._low_water.seconds_until_full()) if self._passed_over else pause

    def _take(self, claims: list[Claim]) -> None:
        if self.closed:
            self._late += claims
        elif claims:
            self._slots.put(self._solitude.admit(claims))
            if self._events.wants(JobsClaimed):
                self._events.emit(JobsClaimed(self._slots.name, claims))

    def _looked_back(self, claims: list[Claim]) -> None:
        self._take(claims)
        self.something_new()  # what it did not use of the room is free again

    def _room(self, prefetch: float) -> int:
        return self._slots.room(prefetch) - self._look_back.asked

    async def _claim(self, asked: int) -> tuple[list[Claim], bool]:
        limit = self._limit
        limit.again = None
        if not limit.known:
            claims, filled = await self._claim_unlimited(asked)
            if claims or not limit.worth_asking:
                return claims, filled
        # Nothing is claimed ahead here: a job that waits in this process would hold a slot of all processes.
        claims = await limit.claim(min(self._room(0.0), MAX_CLAIM))
        return claims, len(claims) == asked

    async def _claim_unlimited(self, asked: int) -> tuple[list[Claim], bool]:
        beyond = self._low_water.marks()
        self._passed_over = bool(beyond)
        if beyond and self._low_water.full_is_due():
            self._look_back.begin(max(asked // LOOK_SHARE, 1))
            asked -= self._look_back.asked
            if not asked:
                return [], False
        claims, seconds = await self._claim_over(self._store, beyond, asked)
        filled = len(claims) == asked
        self._low_water.claimed(claims, seconds, full=not beyond, filled=filled)
        return claims, filled

    async def _claim_over(
        self, store: Store, beyond: Sequence[tuple[int, Mark]], asked: int
    ) -> tuple[list[Claim], float | None]:
        # Opening a connection takes many times as long as a claim, and would pass for a claim that is slow.
        measured = store.connected
        began = time.monotonic()
        claims = await store.claim(
            self._slots.name, self._types, self._worker_id, self._lease, asked, beyond=beyond
        )
        return claims, time.monotonic() - began if measured else None

    def _was_closed(self) -> bool:
        return self.closed

    def _wants_claim(self) -> bool:
        # A lone free slot is filled at once; while jobs still wait here, rather half a load in one statement.
        if self._limit.known:
            return self._room(0.0) > 0
        room = self._room(self._prefetch)
        return room > 0 and (
            not self._slots.waiting or room * 2 >= self._slots.limit + len(self._slots.waiting)
        )
