"""Migrations under load (F15): nobody waits long for them, nothing fails, and old code runs on the new schema."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Final

import asyncpg
import pytest

from jobplane import DatabaseSettings
from jobplane.store.fit import fit_of
from jobplane.store.migrator import Migrator, migrations
from tests.conftest import _administer
from tests.faults import first_release
from tests.faults.conftest import is_long
from tests.faults.first_release import Release
from tests.faults.run import FaultRun
from tests.support import on_database, until

STALL: Final = 2.5
"""Seconds for which claims may stop."""
NEXT_RELEASE: Final = """
ALTER TABLE control_plane.jobs ADD COLUMN next_release jsonb NOT NULL DEFAULT '{}';
CREATE TABLE control_plane.next_release (id bigint PRIMARY KEY, job_id uuid);
CREATE INDEX idx_jobs_next_release ON control_plane.jobs (created_at) WHERE next_release <> '{}';
INSERT INTO control_plane.jobplane_migrations (version, name, checksum) VALUES (999, 'next_release', 'x');
"""


@pytest.fixture
async def old_url(durable_url: str) -> AsyncIterator[str]:
    """A database that nobody has migrated yet."""
    name = f"jobplane_faults_{uuid.uuid4().hex[:12]}"
    await _administer(durable_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
    yield on_database(durable_url, name)
    await _administer(durable_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.mark.parametrize("version", [first_release.SCHEMA_VERSION, 8])
async def test_f15_each_migration_is_applied_under_load(old_url: str, version: int) -> None:
    """The first release works all the time, and a reader's transaction is open: no claim waits behind what waits for it."""
    migrator = Migrator(DatabaseSettings(url=old_url))
    await migrator.up(version)
    release = Release(old_url)
    reader = await asyncpg.connect(old_url)
    working = [asyncio.create_task(release.work(f"worker-{number}")) for number in range(2)]
    enqueueing = asyncio.create_task(release.enqueue())
    reading = asyncio.create_task(_read_for(reader, 30.0 if is_long() else 3.0))
    await _completes(release, 50)
    applied = []
    for migration in migrations():
        if migration.version > version:
            applied += [done.version for done in await migrator.up(migration.version)]
            await _completes(release, 20)
    release.over.set()
    await asyncio.gather(enqueueing, *working, reading)
    unfinished = await reader.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status <> 'completed'")
    await reader.close()

    assert applied == [migration.version for migration in migrations() if migration.version > version]
    assert (release.completed, release.lost, unfinished) == (release.enqueued, 0, 0)
    assert max(later - earlier for earlier, later in pairwise(sorted(release.claimed_at))) <= STALL
    assert release.slowest_enqueue <= STALL


async def test_f15_workers_of_the_last_release_run_on_the_next_schema(fault_run: FaultRun) -> None:
    """A migration that this code does not know comes under load; workers go on, and restart on it."""
    run = fault_run
    for _ in range(2):
        run.spawn()
    await run.ready()
    over = asyncio.Event()
    enqueueing = asyncio.create_task(_journalled_until(run, over))
    await run.completed(50)

    newer = await asyncpg.connect(run.url)
    await newer.execute(NEXT_RELEASE)
    await newer.execute(
        "UPDATE control_plane.jobs SET next_release = '{\"a\": 1}' WHERE status = 'completed'"
    )
    assert await run.stop(run.workers[0]) == 0
    restarted = run.spawn()
    await run.ready()
    done = await run.count("completed")
    await run.completed(done + 100)
    over.set()
    wished = await enqueueing
    await run.settle()
    await newer.close()

    fit = await fit_of(DatabaseSettings(url=run.url))
    figures = await run.verdict(ran_on=", ".join(fit.newer))
    assert figures.completions == wished
    assert figures.extra_executions == 0
    assert any(entry["pid"] == restarted.pid for entry in run.journal.entries("end"))
    assert "newer than the code" in restarted.log.read_text()
    for worker in run.workers:
        assert "ERROR" not in worker.log.read_text()


async def _completes(release: Release, count: int) -> None:
    """Wait for so many more completions."""
    wanted = release.completed + count

    async def enough() -> bool:
        return release.completed >= wanted

    await until(enough)


async def _read_for(reader: asyncpg.Connection[asyncpg.Record], seconds: float) -> None:
    async with reader.transaction():
        await reader.fetchval("SELECT count(*) FROM control_plane.jobs")
        await asyncio.sleep(seconds)  # how long it reads is the fault


async def _journalled_until(run: FaultRun, over: asyncio.Event) -> int:
    count = 0
    while not over.is_set():
        await run.client.enqueue_surely("work", {"seconds": 0.01}, key=f"{count}", max_attempts=20)
        count += 1
    return count
