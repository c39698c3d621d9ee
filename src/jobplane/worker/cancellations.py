"""Stops the jobs of this worker that someone has asked to cancel, each by its claim (I12).

A notification names a job and proves nothing: anyone who may connect can send it, and one that comes late may meet
the job's next attempt. So the table is asked, by id and epoch, and only what it confirms is stopped. The heartbeat
asks the same for all jobs that it renews, and hands its answers on to here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Final
from uuid import UUID

from jobplane.events import Events
from jobplane.failure import ErrorReport
from jobplane.job import Claim
from jobplane.outcome import Cancelled
from jobplane.store.store import Store
from jobplane.worker.reporter import Inbox
from jobplane.worker.service import Service
from jobplane.worker.slots import QueueSlots, StopReason
from jobplane.worker.solitude import Solitude

ASK_EVERY: Final = 0.02
"""Seconds between two questions to the database, whatever is heard. The first hint after a silence is asked at once."""
MOST_HINTS: Final = 10_000
"""Ids kept until the next question. Beyond them a cancellation waits for the heartbeat."""


class Cancellations(Service):
    """Collects hints, asks the table once for all of them, and stops what it confirms.

    Args:
        slots: all queues of the worker.
        solitude: where one job may wait to run alone.
        inbox: where the outcomes of jobs go that had not started.
        store: asked whether cancellation was requested.
    """

    def __init__(
        self, slots: Sequence[QueueSlots], solitude: Solitude, inbox: Inbox, store: Store, events: Events
    ) -> None:
        super().__init__("cancellations", events)
        self._slots = slots
        self._solitude = solitude
        self._inbox = inbox
        self._store = store
        self._hinted: set[UUID] = set()
        self._asked_at = 0.0

    def hint(self, job_id: UUID) -> None:
        """Someone says that this job is to be cancelled: look soon. An id that is not held here costs no question."""
        if len(self._hinted) < MOST_HINTS:
            self._hinted.add(job_id)
            self.wake()

    async def run_once(self) -> float:
        """Ask for all that was hinted at, at once."""
        if not self._hinted:
            return 3600.0
        # Hints go on gathering meanwhile; they must not cut this pause short.
        await asyncio.sleep(max(self._asked_at + ASK_EVERY - time.monotonic(), 0))
        self._asked_at = time.monotonic()
        hinted, self._hinted = self._hinted, set()
        claims = [claim for claim in self._held() if claim.id in hinted]
        if claims:
            try:
                self.stop_claims(await self._store.cancel_requested(claims))
            except BaseException:
                self._hinted.update(claim.id for claim in claims)
                raise
        return 0.0

    def stop_claims(self, requested: Collection[tuple[UUID, int]]) -> None:
        """Stop these claims, named by job id and epoch: a handler is told to end, a job that waits never starts.

        What is not held here by exactly this claim is left alone. An outcome that is being written stands: the
        statement that writes it sees the request.
        """
        if not requested:
            return
        wanted = frozenset(requested)
        for job_id, epoch in wanted:
            self._solitude.cancel(job_id, epoch)
        for slots in self._slots:
            for job_id, epoch in wanted:
                running = slots.running.get(job_id)
                if running is not None and running.claim.epoch == epoch:
                    running.stop(StopReason.CANCELLED)
            for claim in slots.take_waiting(wanted):
                self._inbox.put(claim, Cancelled(ErrorReport("Cancelled", "cancelled before it started")))

    def _held(self) -> Iterator[Claim]:
        yield from self._solitude.held()
        for slots in self._slots:
            yield from slots.waiting
            for running in slots.running.values():
                yield running.claim
