"""Claims from a queue with a limit: exact over all workers, because only one at a time counts and claims."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from jobplane.job import Claim
from jobplane.sql import SQLValue
from jobplane.store.database import Database
from jobplane.store.failures import Reaction, reaction_to
from jobplane.store.lane import Lane
from jobplane.store.rows import claims_of


@dataclass(frozen=True, slots=True)
class Room:
    """A limited queue as of a moment ago."""

    max_running: int
    running: int
    waiting: bool
    """Whether a due job of a known type may be claimed when there is room: the queue is not paused."""


class LimitedQueues:
    """The statements of a claimer on limited queues.

    Args:
        database: where to.
        over: the claimer's own connection.
    """

    def __init__(self, database: Database, over: Database | Lane) -> None:
        self._over = over
        self._room = database.statement("queue/room")
        self._lock = database.statement("queue/lock")
        self._claim = database.statement("job/claim_limited")

    async def room(self, queue: str, types: Sequence[str]) -> Room | None:
        """How far a queue is from its limit; None: it has none."""
        args: dict[str, SQLValue] = {"queue": queue, "types": types}
        rows = await self._over.fetch_once(self._room, self._room.positions(args))
        return Room(*rows[0]) if rows else None

    async def claim(
        self, queue: str, types: Sequence[str], worker_id: str, lease: timedelta, limit: int
    ) -> list[Claim] | None:
        """Start the attempts of up to `limit` due jobs, in order and within the queue's limit. One try, as Store.claim.

        Waits for other claimers; None when that takes too long.
        """
        try:
            async with self._over.transaction() as connection:
                lock = await connection.fetch(self._lock.numbered, *self._lock.positions({"queue": queue}))
                if not lock:
                    return []
                sent = time.monotonic()
                values = self._claim.positions(
                    {
                        "lease": lease.total_seconds(),
                        "worker_id": worker_id,
                        "queue": queue,
                        "types": types,
                        "limit": limit,
                        "max_running": lock[0]["max_running"],
                    }
                )
                rows = await connection.fetch(self._claim.numbered, *values)
        except Exception as error:
            if reaction_to(error) is not Reaction.RETRY:
                raise
            return None
        return claims_of(rows, sent + lease.total_seconds())
