"""What a snapshot that somebody keeps open does to claims, with the low-water mark and without.

    python -m bench.micro.low_water [jobs]

A client writes jobs by the hundred, and claims and completes them, while another session holds a REPEATABLE READ
transaction open. Prints the claims' times by fifths of the run, and the rate.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from statistics import quantiles

import asyncpg

from jobplane import DatabaseSettings, JobQueue, new_job
from jobplane.embedded import EmbeddedServer
from jobplane.store.database import Database
from jobplane.store.lane import Lane
from jobplane.store.migrator import Migrator
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from jobplane.worker.low_water import LowWater

BATCH = 100


async def flow(url: str, jobs: int, *, marks: bool, held: bool) -> None:
    """Let so many jobs flow through, and print what their claims took."""
    settings = DatabaseSettings(url=url)
    await Migrator(settings).down(0)
    await Migrator(settings).up()
    database = Database(settings, setup=WORKER_SESSION)
    lane = Lane(database)
    store, water, took = Store(database, lane), LowWater(1.0), []
    holder = await asyncpg.connect(url)
    if held:
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.jobs")
    began, done = time.perf_counter(), 0
    async with JobQueue(settings=settings) as queue:
        while done < jobs:
            await queue.enqueue_many(new_job("t", {}) for _ in range(BATCH))
            beyond = water.marks() if marks and not water.full_is_due() else []
            sent = time.perf_counter()
            claims = await store.claim("default", ["t"], "w", timedelta(seconds=45), BATCH, beyond=beyond)
            seconds = time.perf_counter() - sent
            took.append(seconds)
            water.claimed(claims, seconds, full=not beyond, filled=len(claims) == BATCH)
            done += len(await store.complete(claims)) if claims else 0
    rate = done / (time.perf_counter() - began)
    fifth = len(took) // 5
    fifths = [quantiles(took[start : start + fifth], n=100) for start in range(0, 5 * fifth, fifth)]
    name = f"{'snapshot held' if held else 'no snapshot'}, {'marks' if marks else 'no marks'}"
    p50 = " ".join(f"{cuts[49] * 1000:6.2f}" for cuts in fifths)
    p99 = " ".join(f"{cuts[98] * 1000:6.2f}" for cuts in fifths)
    print(f"{name:26} {rate:8.0f} jobs/s   claim p50 ms {p50}   p99 ms {p99}")
    await holder.close()
    await lane.close()
    await database.close()


async def main(url: str, jobs: int) -> None:
    """The four cases."""
    for held in (True, False):
        for marks in (False, True):
            await flow(url, jobs, marks=marks, held=held)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="jobplane-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            asyncio.run(main(server.url(), int(sys.argv[1]) if len(sys.argv) > 1 else 60_000))
