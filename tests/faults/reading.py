"""What is known of a run: the database's history, what the journals say, and the ticks of its schedules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import asyncpg

from jobplane import DatabaseSettings
from jobplane.history.journal import read_journal
from jobplane.history.record import History, Profile, Tick
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore
from jobplane.store.rows import as_uuid


async def read_history(
    url: str, journal: Sequence[str], profile: Profile, *, settled: bool, every_second: Sequence[str] = ()
) -> History:
    """All of it, as the checker takes it.

    Args:
        url: the database.
        journal: the lines of the journal.
        profile: see History.
        settled: see History.
        every_second: schedules of which each second between their first and their last tick is demanded.
    """
    found = await HistoryStore(Database(DatabaseSettings(url=url))).read(profile, settled=settled)
    calls, executions = read_journal(journal)
    ticks = await _ticks(url)
    expected = {name: _seconds(name, ticks) for name in every_second}
    return replace(found, calls=calls, executions=executions, ticks=ticks, expected_ticks=expected)


async def _ticks(url: str) -> tuple[Tick, ...]:
    # By the jobs, not by the rows of schedule_ticks: their key would hide what it is there to prevent. Only of jobs that
    # were pruned is nothing else left.
    connection = await asyncpg.connect(url)
    jobs = await connection.fetch("SELECT id, tags FROM control_plane.jobs WHERE tags[1] LIKE 'schedule:%'")
    pruned = await connection.fetch(
        "SELECT schedule, tick, job_id FROM control_plane.schedule_ticks AS t WHERE job_id IS NOT NULL "
        "AND NOT EXISTS (SELECT FROM control_plane.jobs AS j WHERE j.id = t.job_id)"
    )
    await connection.close()
    kept = (
        Tick(
            schedule=job["tags"][0].removeprefix("schedule:"),
            tick=datetime.fromisoformat(job["tags"][1].removeprefix("tick:")),
            job_id=as_uuid(job["id"]),
        )
        for job in jobs
    )
    gone = (Tick(schedule=row["schedule"], tick=row["tick"], job_id=as_uuid(row["job_id"])) for row in pruned)
    return (*kept, *gone)


def _seconds(schedule: str, ticks: Sequence[Tick]) -> frozenset[datetime]:
    moments = [tick.tick for tick in ticks if tick.schedule == schedule]
    if not moments:
        return frozenset()
    seconds = int((max(moments) - min(moments)).total_seconds())
    return frozenset(min(moments) + timedelta(seconds=second) for second in range(seconds + 1))
