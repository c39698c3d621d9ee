"""Deletes ended jobs and transitions past their retention, in small batches; ticks and workers of long ago."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from jobplane.events import Events, JobsPruned
from jobplane.settings import WorkerSettings
from jobplane.store.history import HistoryStore
from jobplane.store.schedules import ScheduleStore
from jobplane.store.store import Store
from jobplane.worker.service import Service, jittered

BATCH: Final = 1000
HISTORY_BATCH: Final = 50_000
"""Transitions are small, and each batch looks for the oldest anew."""
INTERVAL: Final = timedelta(minutes=1)
FORGET_WORKERS_AFTER: Final = timedelta(hours=24)
KEEP_TICKS: Final = timedelta(days=30)


class Pruner(Service):
    """Keeps the table small enough to live with."""

    def __init__(
        self,
        store: Store,
        schedules: ScheduleStore,
        settings: WorkerSettings,
        worker_id: str,
        events: Events,
    ) -> None:
        super().__init__("pruner", events)
        self._store = store
        self._history = HistoryStore(store.database)
        self._schedules = schedules
        self._settings = settings
        self._worker_id = worker_id

    async def run_once(self) -> float:
        """Prune everything that is old enough, if it is our turn."""
        if await self._store.take_duty("prune", INTERVAL * 0.9, self._worker_id):
            total = 0
            while pruned := await self._store.prune(self._settings, BATCH):
                total += pruned
            if total:
                self._events.emit(JobsPruned(total))
            await self._store.forget_workers(FORGET_WORKERS_AFTER)
            while await self._schedules.prune(KEEP_TICKS, BATCH) == BATCH:
                pass
            while await self._history.prune(self._settings.keep_history, HISTORY_BATCH) == HISTORY_BATCH:
                pass
        return jittered(INTERVAL.total_seconds())
