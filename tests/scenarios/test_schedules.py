"""F23: five schedulers, one tick a second, while they are killed and stopped and the server restarts (I17, I13).

Each tick of database time is made exactly once while at least one scheduler is up; of an outage the policy makes none,
one, or all up to the cap. Real worker processes; a server of the test's own, with fsync on.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from jobplane import DatabaseSettings, JobQueue, Missed
from jobplane.embedded import EmbeddedServer
from jobplane.store.migrator import Migrator
from tests.factories import SQL
from tests.support import SLACK, Journal, WorkerProcess, until

SECONDS = int(os.environ.get("JOBPLANE_TEST_TICKS", "22"))
"""How long the schedule ticks; 120 for the long profile."""
POLL = 0.2


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """A server that may be restarted."""
    with tempfile.TemporaryDirectory(prefix="jobplane-ticks-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            yield server


@pytest.fixture
async def client(server: EmbeddedServer) -> AsyncIterator[JobQueue]:
    """A client of that server."""
    settings = DatabaseSettings(url=server.url())
    await Migrator(settings).up()
    async with JobQueue(settings=settings) as client:
        yield client


@pytest.fixture
def spawn(server: EmbeddedServer, journal: Journal) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts workers of that server."""
    spawned: list[WorkerProcess] = []

    def start() -> WorkerProcess:
        spawned.append(WorkerProcess(server.url(), journal, {}))
        return spawned[-1]

    yield start
    for worker in spawned:
        worker.end()


async def test_every_second_has_its_tick_through_kills_stops_and_a_restart_of_the_server(
    server: EmbeddedServer, client: JobQueue, spawn: Callable[[], WorkerProcess]
) -> None:
    chance = random.Random(23)
    workers = [spawn() for _ in range(5)]
    names = {"skipping": Missed.SKIP, "all": Missed.ALL}
    for name, missed in names.items():
        await client.create_schedule(name, "@every 1s", "work", {}, missed=missed)

    async def so_many(count: int) -> None:
        async def reached() -> bool:
            try:
                return len(await _ticks_at(server.url(), "all")) >= count
            except (OSError, asyncpg.PostgresError):
                return False

        await until(reached, 30 + SECONDS)

    await so_many(2)
    for count in (3, 4, 5, 6):
        await so_many(count)
        doomed = workers.pop(chance.randrange(len(workers)))
        doomed.signal(signal.SIGKILL)
        await doomed.exit_code()
        workers.append(spawn())
    sleepers = workers[:4]
    for sleeper in sleepers:
        sleeper.signal(signal.SIGSTOP)
    await so_many(11)
    for sleeper in sleepers:
        sleeper.signal(signal.SIGCONT)
    await asyncio.to_thread(server.restart, "immediate")
    await so_many(15)
    await asyncio.to_thread(server.restart, "fast")
    await so_many(SECONDS)
    for worker in workers:
        worker.signal(signal.SIGTERM)
    codes = [await worker.exit_code() for worker in workers]

    for name in names:
        made = await _ticks_at(server.url(), name)
        expected = [made[0] + timedelta(seconds=number) for number in range(len(made))]
        assert made == expected, "each second once"
        assert len(made) >= SECONDS - 1
    late = await _lateness(server.url())
    print(  # noqa: T201 - the figures of the run
        f"F23: ticks and jobs {len(late)}, kills 4, stops {len(sleepers)}, restarts 2; a job starts "
        f"{late[len(late) // 2] * 1000:.0f} ms after its tick (median), at most {late[-1]:.2f} s (a restart)"
    )
    assert late[0] >= 0, "I13: not before its time"
    assert late[len(late) // 2] <= (POLL + 0.2) * SLACK
    assert codes == [0] * 5


async def test_after_an_outage_of_ten_minutes_each_policy_makes_what_it_says(
    client: JobQueue, server: EmbeddedServer, spawn: Callable[[], WorkerProcess]
) -> None:
    """All workers were away. The ten minutes lie in the past: last_tick is set back by them."""
    sql = await asyncpg.connect(server.url())
    now: datetime = await sql.fetchval("SELECT date_trunc('minute', now())")
    missed = [now - timedelta(minutes=number) for number in range(10, 0, -1)]
    # None of the minutes in which the test itself may run: what is made was missed.
    cron = f"{','.join(str(tick.minute) for tick in missed)} * * * *"
    policies: dict[str, tuple[Missed, int, int]] = {
        "skip": (Missed.SKIP, 100, 0),
        "latest": (Missed.LATEST, 100, 1),
        "all": (Missed.ALL, 100, 10),
        "capped": (Missed.ALL, 4, 4),
    }
    for name, (policy, cap, _) in policies.items():
        await client.create_schedule(name, cron, "work", {}, missed=policy, missed_cap=cap)
    await sql.execute(
        "UPDATE control_plane.schedules SET last_tick = $1, look_at = $1", missed[0] - timedelta(seconds=30)
    )
    await client.create_schedule("pulse", "@every 1s", "work")

    for _ in range(5):
        spawn()

    async def the_pulse_beats() -> bool:
        beats = await sql.fetchval(
            "SELECT count(*) FROM control_plane.schedule_ticks WHERE schedule = 'pulse'"
        )
        return int(beats) >= 4

    await until(the_pulse_beats)
    for name, (_, _, count) in policies.items():
        assert await _ticks(sql, name) == missed[len(missed) - count :], name
    await sql.close()


async def test_a_new_schedule_ticks_within_a_second_and_its_job_starts_at_once(
    client: JobQueue, spawn: Callable[[], WorkerProcess], journal: Journal
) -> None:
    spawn()

    async def it_serves() -> bool:
        return bool(await client.list_workers())

    await until(it_serves)
    began = time.monotonic()
    await client.create_schedule("pulse", "@every 1s", "work", {"marker": "pulse"})

    async def it_ran() -> bool:
        return bool(journal.entries("start"))

    await until(it_ran)
    assert time.monotonic() - began < (1 + 1 + POLL) * SLACK, "a look, a tick, a poll"


async def _ticks_at(url: str, name: str) -> list[datetime]:
    sql = await asyncpg.connect(url)
    try:
        return await _ticks(sql, name)
    finally:
        await sql.close()


async def _ticks(sql: SQL, name: str) -> list[datetime]:
    rows = await sql.fetch(
        "SELECT tick FROM control_plane.schedule_ticks WHERE schedule = $1 ORDER BY tick", name
    )
    return [row["tick"] for row in rows]


async def _lateness(url: str) -> list[float]:
    """Seconds from each tick to the start of its job, in order; every tick has one job, and no job is without."""
    sql = await asyncpg.connect(url)
    rows = await sql.fetch(
        "SELECT t.tick, j.scheduled_at, j.started_at "
        "FROM control_plane.schedule_ticks AS t FULL JOIN control_plane.jobs AS j ON j.id = t.job_id"
    )
    await sql.close()
    assert all(row["tick"] == row["scheduled_at"] for row in rows)
    return sorted((row["started_at"] - row["tick"]).total_seconds() for row in rows if row["started_at"])
