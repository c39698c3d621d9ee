"""A worker reduced to its statements: claims, renews and reports exactly when a scenario says so."""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from jobplane import DatabaseSettings
from jobplane.job import Claim
from jobplane.store.connecting import session_name
from jobplane.store.database import Database
from jobplane.store.schedules import ScheduleStore
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from tests.faults.run import FaultRun

BRIEF: Final = timedelta(seconds=0.5)
LONG: Final = timedelta(seconds=60)


class Hand:
    """Made by `hand(run, "a")`; its connections say so as those of a worker do."""

    def __init__(self, run: FaultRun, name: str) -> None:
        # As a worker's: host, process, and a token of hexadecimal digits.
        self.id = f"test-{os.getpid()}-{zlib.crc32(name.encode()):08x}"
        self.session = session_name("worker", self.id)
        self.database = Database(
            DatabaseSettings(url=run.url), setup=WORKER_SESSION, application_name=self.session
        )
        self.store = Store(self.database)
        self.schedules = ScheduleStore(self.database)

    async def claim(
        self,
        limit: int = 1,
        lease: timedelta = LONG,
        types: tuple[str, ...] = ("work",),
        queue: str = "default",
    ) -> list[Claim]:
        """Claim jobs."""
        return await self.store.claim(queue, types, self.id, lease, limit)

    async def rescue_one(self, run: FaultRun) -> None:
        """Sweep until a lease has run out and its job was taken back."""

        async def rescued() -> bool:
            return bool(await self.store.rescue())

        await run.until(rescued, "a lease to run out and to be swept", 5)


@asynccontextmanager
async def hand(run: FaultRun, name: str) -> AsyncIterator[Hand]:
    """A worker without a process of its own."""
    made = Hand(run, name)
    yield made
    await made.database.close()
