"""What a scheduler asks of the database: what is due, and that ticks be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from jobplane.ids import new_job_id
from jobplane.schedule import Decision, Missed, Watched
from jobplane.sql import SQLValue
from jobplane.store.database import Database
from jobplane.store.owners import pruning, ticking
from jobplane.store.rows import as_uuid


@dataclass(frozen=True, slots=True)
class Look:
    """A schedule to look at, now or in a moment."""

    now: datetime
    """By the database's clock."""
    look_at: datetime
    watched: Watched


@dataclass(frozen=True, slots=True)
class Ticked:
    """A tick that was made."""

    schedule: str
    tick: datetime
    job_id: UUID | None
    """None: an unfinished job had the schedule's unique key."""
    queue: str | None


class ScheduleStore:
    """The statements of a scheduler on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def due(self, ahead: float, limit: int) -> list[Look]:
        """The schedules to look at within `ahead` seconds, the soonest first."""
        rows = await self._fetch("schedule/due", {"ahead": ahead, "limit": limit})
        return [
            Look(
                row["now"],
                row["look_at"],
                Watched(
                    row["name"],
                    row["cron"],
                    row["timezone"],
                    row["revision"],
                    row["last_tick"],
                    Missed(row["missed"]),
                    row["missed_cap"],
                ),
            )
            for row in rows
        ]

    async def tick(self, decisions: Sequence[Decision]) -> list[Ticked]:
        """Make the ticks that were decided on, but for those that another scheduler made, and their jobs."""
        wanted = [(decision.watched, tick) for decision in decisions for tick in decision.ticks]
        rows = await self._database.fetch(
            await ticking(self._database),
            {
                "names": [watched.name for watched, _ in wanted],
                "revisions": [watched.revision for watched, _ in wanted],
                "last_ticks": [watched.last_tick for watched, _ in wanted],
                "ticks": [tick for _, tick in wanted],
                "job_ids": [new_job_id() for _ in wanted],
                "decided": [decision.watched.name for decision in decisions],
                "decided_revisions": [decision.watched.revision for decision in decisions],
                "decided_from": [decision.watched.last_tick for decision in decisions],
                "decided_to": [decision.newest for decision in decisions],
                "look_ats": [decision.look_at for decision in decisions],
            },
        )
        made = [
            Ticked(row["schedule"], row["tick"], row["job_id"] and as_uuid(row["job_id"]), row["queue"])
            for row in rows
        ]
        return sorted(made, key=lambda ticked: (ticked.tick, ticked.schedule))

    async def prune(self, keep: timedelta, limit: int = 1000) -> int:
        """Delete up to `limit` ticks older than that; returns how many."""
        statement = await pruning(self._database, "schedule/prune")
        return len(await self._database.fetch(statement, {"keep": keep.total_seconds(), "limit": limit}))

    async def _fetch(self, name: str, args: dict[str, SQLValue]) -> list[asyncpg.Record]:
        return await self._database.fetch(self._database.statement(name), args)
