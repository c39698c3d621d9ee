"""Makes the jobs of schedules. Every worker does it; whoever inserts a tick's row first makes its job.

Only the database's clock says what is due. This process only works out which times an expression means, and sleeps.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import Final

from jobplane.errors import InvalidInputError
from jobplane.events import Events, ScheduleTicked, ServiceFailed
from jobplane.schedule import Decision, decide
from jobplane.store.schedules import Look, ScheduleStore
from jobplane.store.store import Store
from jobplane.worker.service import Service

LOOK_EVERY: Final = 1.0
"""Seconds between two looks at most: how late a new or changed schedule is noticed."""
BATCH: Final = 100
"""Schedules for one statement."""


class Scheduler(Service):
    """Looks which schedules are due, decides on their ticks, and has them made."""

    def __init__(self, schedules: ScheduleStore, store: Store, events: Events) -> None:
        super().__init__("scheduler", events)
        self._schedules = schedules
        self._store = store

    async def run_once(self) -> float:
        """Make what is due; sleep until the next tick."""
        began = time.monotonic()
        looks = await self._schedules.due(LOOK_EVERY, BATCH)
        if not looks:
            return LOOK_EVERY
        now = looks[0].now
        decisions = [decision for look in looks if look.look_at <= now and (decision := self._decide(look))]
        if decisions:
            await self._tick(decisions)
        if len(looks) == BATCH and decisions:
            return 0.0
        coming = [look.look_at for look in looks if look.look_at > now]
        coming += [decision.look_at for decision in decisions]
        return _pause(min(coming, default=None), now, time.monotonic() - began)

    def _decide(self, look: Look) -> Decision | None:
        try:
            return decide(look.watched, look.now)
        except InvalidInputError as error:
            # Its time zone is unknown on this machine: others may know it, and the other schedules go on.
            self._events.emit(ServiceFailed(f"schedule {look.watched.name}", error, LOOK_EVERY))
            return None

    async def _tick(self, decisions: list[Decision]) -> None:
        made = await self._schedules.tick(decisions)
        for ticked in made:
            self._events.emit(ScheduleTicked(ticked.schedule, ticked.tick, ticked.job_id))
        for queue in {ticked.queue for ticked in made if ticked.queue is not None}:
            await self._store.notify(queue)


def _pause(coming: datetime | None, now: datetime, elapsed: float) -> float:
    if coming is None:
        return LOOK_EVERY
    return min(max((coming - now).total_seconds() - elapsed, 0.001), LOOK_EVERY)
