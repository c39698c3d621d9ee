"""Writes what handlers report of their progress: the latest of each job, twice a second at most."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final, TypeAlias
from uuid import UUID

from jobplane.events import Events
from jobplane.job import Claim
from jobplane.store.store import Store
from jobplane.worker.service import Service

INTERVAL: Final = 0.5
"""Seconds between two writes."""
LAST_TRIES: Final = 3
"""How often the last report of a job is tried while its row is locked."""
_Reports: TypeAlias = dict[UUID, tuple[Claim, str]]


class ProgressWriter(Service):
    """Keeps the latest report of each job until it is written."""

    def __init__(self, store: Store, events: Events) -> None:
        super().__init__("progress", events)
        self._store = store
        self._latest: _Reports = {}
        self._writing = asyncio.Lock()

    def report(self, claim: Claim, text: str) -> None:
        """A handler's word; may be called from its thread."""
        self._latest[claim.id] = (claim, text)

    async def write_for(self, claims: Iterable[Claim]) -> None:
        """Write what is left of these jobs now: they are about to end, and then it would be refused."""
        if not self._latest and not self._writing.locked():
            return
        async with self._writing:  # an older report under way must not come last
            mine = {claim.id: self._latest.pop(claim.id) for claim in claims if claim.id in self._latest}
            for _ in range(LAST_TRIES):
                if mine := await self._write(mine):
                    await asyncio.sleep(0.01)

    async def run_once(self) -> float:
        """Write what was reported since the last time."""
        async with self._writing:
            latest, self._latest = self._latest, {}
            self._keep(await self._write(latest))
        return INTERVAL

    async def _write(self, reports: _Reports) -> _Reports:
        """Write some reports; returns those whose rows were locked."""
        try:
            locked = await self._store.progress(list(reports.values())) if reports else ()
        except BaseException:
            self._keep(reports)
            raise
        return {job_id: reports[job_id] for job_id in locked}

    def _keep(self, reports: _Reports) -> None:
        for job_id, report in reports.items():
            self._latest.setdefault(job_id, report)
