"""Writes what handlers report of their progress: the latest of each job, twice a second at most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from jobplane.events import Events
from jobplane.job import Claim
from jobplane.store.store import Store
from jobplane.worker.service import Service

INTERVAL: Final = 0.5
"""Seconds between two writes."""


class ProgressWriter(Service):
    """Keeps the latest report of each job until it is written."""

    def __init__(self, store: Store, events: Events) -> None:
        super().__init__("progress", events)
        self._store = store
        self._latest: dict[UUID, tuple[Claim, str]] = {}

    def report(self, claim: Claim, text: str) -> None:
        """A handler's word; may be called from its thread."""
        self._latest[claim.id] = (claim, text)

    async def write_for(self, claims: Iterable[Claim]) -> None:
        """Write what is left of these jobs now: they are about to end, and then it would be refused."""
        mine = (
            [self._latest.pop(claim.id) for claim in claims if claim.id in self._latest]
            if self._latest
            else []
        )
        if mine:
            await self._store.progress(mine)

    async def run_once(self) -> float:
        """Write what was reported since the last time."""
        latest, self._latest = self._latest, {}
        if latest:
            try:
                await self._store.progress(list(latest.values()))
            except BaseException:
                self._latest = {**latest, **self._latest}
                raise
        return INTERVAL
