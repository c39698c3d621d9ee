"""How soon jobs start while somebody holds a snapshot: a whole worker, from enqueue to start.

    python -m bench.micro.look_back [seconds]

A client enqueues at a steady rate to an idle worker while another session keeps a REPEATABLE READ transaction open, so
that the entries of ended jobs pile up at the head of the polling index; first with claims that always look at
everything, then as they are. Prints the delays by fifths of the run.
"""

from __future__ import annotations

import asyncio
import math
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import Final

import asyncpg

from jobplane import DatabaseSettings, JobQueue, Worker
from jobplane.embedded import EmbeddedServer
from jobplane.store.migrator import Migrator
from jobplane.worker import low_water

BURST: Final = 100
PAUSE: Final = 0.01
"""Seconds between two bursts of jobs."""


async def flow(url: str, seconds: float, *, marks: bool) -> None:
    """Let jobs flow for so long, and print how long they waited to be started."""
    settings = DatabaseSettings(url=url)
    await Migrator(settings).down(0)
    await Migrator(settings).up()
    low_water.WORTHWHILE = 0.001 if marks else math.inf  # type: ignore[misc]  # the switch of this measurement
    delays: list[float] = []
    async with JobQueue(settings=settings) as queue:

        @queue.task
        async def work(sent: float) -> None:
            delays.append(time.monotonic() - sent)

        holder = await asyncpg.connect(url)
        await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM control_plane.jobs")
        end = time.monotonic() + seconds
        async with Worker(queue, database=settings, queues="default:200"):
            while time.monotonic() < end:
                await queue.enqueue_many(work.new(time.monotonic()) for _ in range(BURST))
                await asyncio.sleep(PAUSE)
        await holder.close()
    fifth = len(delays) // 5
    fifths = [quantiles(delays[start : start + fifth], n=100) for start in range(0, 5 * fifth, fifth)]
    p50 = " ".join(f"{cuts[49] * 1000:7.2f}" for cuts in fifths)
    p99 = " ".join(f"{cuts[98] * 1000:7.2f}" for cuts in fifths)
    print(f"{'with marks' if marks else 'no marks':10} {len(delays):8} jobs   p50 ms {p50}   p99 ms {p99}")


async def main(url: str, seconds: float) -> None:
    """Both cases."""
    for marks in (False, True):
        await flow(url, seconds, marks=marks)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="jobplane-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            asyncio.run(main(server.url(), float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
