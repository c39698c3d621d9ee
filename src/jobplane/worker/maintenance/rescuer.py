"""Takes back jobs whose worker died, hangs or is cut off: their leases have expired."""

from __future__ import annotations

from typing import Final

from jobplane.events import Events, JobsRescued
from jobplane.settings import WorkerSettings
from jobplane.store.store import Store
from jobplane.worker.service import Service, jittered

BATCH: Final = 500


class Rescuer(Service):
    """Looks for expired leases. Any number of workers may do so: the statement itself re-checks each lease."""

    def __init__(self, store: Store, settings: WorkerSettings, worker_id: str, events: Events) -> None:
        super().__init__("rescuer", events)
        self._store = store
        self._worker_id = worker_id
        self._crash_limit = settings.crash_limit
        # Two looks in each sweep interval, so that no lease waits longer than one whichever worker has the duty.
        self._interval = settings.sweep_interval / 2

    async def run_once(self) -> float:
        """Rescue everything that is due, if it is our turn."""
        if await self._store.take_duty("rescue", self._interval * 0.9, self._worker_id):
            while rescued := await self._store.rescue(BATCH, self._crash_limit):
                self._events.emit(JobsRescued([job_id for job_id, _ in rescued]))
                for queue in {queue for _, queue in rescued}:
                    await self._store.notify(queue)
                if len(rescued) < BATCH:
                    break
        return jittered(self._interval.total_seconds() * 0.9)
