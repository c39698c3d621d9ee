"""The server goes away under load and comes back: nothing acknowledged is lost, nothing is completed twice (I1, I5)."""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import asyncpg
import pytest

from jobplane import DatabaseError, DatabaseSettings, JobQueue, JobStatus
from jobplane.embedded import EmbeddedServer
from jobplane.store.migrator import Migrator
from tests.support import Journal, WorkerProcess, on_database, until

JOBS = 600


@pytest.fixture
def durable_server() -> Iterator[EmbeddedServer]:
    """A server of the test's own, with fsync on, that may be restarted."""
    with tempfile.TemporaryDirectory(prefix="jobplane-outage-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            yield server


@pytest.mark.parametrize("mode", ["fast", "immediate"])
async def test_acknowledged_jobs_survive_restarts_of_the_server(
    durable_server: EmbeddedServer, journal: Journal, mode: Literal["fast", "immediate"]
) -> None:
    url = durable_server.url()
    settings = DatabaseSettings(url=url)
    await Migrator(settings).up()
    acknowledged: set[str] = set()

    async def enqueue_all(queue: JobQueue) -> None:
        for number in range(JOBS):
            # A caller that repeats what it got no answer to, under the same key.
            while True:
                try:
                    key = f"job {number}"
                    made = await queue.enqueue("work", {}, idempotency_key=key, max_attempts=20)
                except DatabaseError:
                    continue
                acknowledged.add(str(made.id))
                break

    async with JobQueue(settings=settings) as queue:
        workers = [WorkerProcess(url, journal, {}) for _ in range(2)]
        try:
            enqueueing = asyncio.create_task(enqueue_all(queue))
            for share in (100, 300):

                async def so_many(share: int = share) -> bool:
                    return len(acknowledged) >= share

                await until(so_many, 60)
                await asyncio.to_thread(durable_server.restart, mode)
            await enqueueing

            async def nothing_is_left() -> bool:
                counts = await queue.count_jobs()
                return counts[JobStatus.COMPLETED] == JOBS

            await until(nothing_is_left, 60)
            assert all(worker.process.poll() is None for worker in workers), "no worker ends by itself"
        finally:
            for worker in workers:
                worker.end()

        connection = await asyncpg.connect(url)
        rows = await connection.fetch("SELECT id::text, lease_epoch FROM control_plane.jobs")
        await connection.close()
    assert {row["id"] for row in rows} == acknowledged
    ends = Counter((entry["job"], entry["epoch"]) for entry in journal.entries("end"))
    assert max(ends.values()) == 1
    assert {job for job, _ in ends} == acknowledged


async def test_terminated_backends_cost_no_second_execution(
    server_url: str,
    database_url: str,
    queue: JobQueue,
    spawn_worker: Callable[..., WorkerProcess],
    journal: Journal,
) -> None:
    worker = spawn_worker()
    made = [await queue.enqueue("work", {"seconds": 0.2}) for _ in range(100)]
    admin = await asyncpg.connect(on_database(server_url, database_url.rsplit("/", 1)[-1]))

    for share in range(10, len(made) + 1, 10):

        async def so_many_are_done(share: int = share) -> bool:
            done = await admin.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'completed'")
            return bool(done >= share)

        await until(so_many_are_done, 60)
        await admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE 'jobplane%'"
        )
    await admin.close()

    starts = Counter(entry["job"] for entry in journal.entries("start"))
    assert len(starts) == len(made)
    # A claim whose answer was lost is a claim without a handler: its jobs come back by their leases.
    assert set(starts.values()) == {1}
    assert worker.process.poll() is None
