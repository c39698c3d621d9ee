"""Networks that fall apart (F9): hosts cut off both ways or one way, from a second to half a minute (I4, I7, I9)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

from jobplane import DatabaseSettings
from jobplane.store.migrator import Migrator
from tests.faults.hosts import SUBNET, Hosts, ReachableServer
from tests.faults.programs import only_in_long_profile
from tests.faults.run import SLOTS, FaultRun

WORKERS: Final = 3
PARTITIONS: Final = 12


async def test_f9_hosts_are_cut_off(start_run: Callable[[str, str], FaultRun]) -> None:
    """Three workers' hosts and a server's; one after the other is cut off, and all work is done in the end."""
    only_in_long_profile()
    with tempfile.TemporaryDirectory(prefix="jobplane-hosts-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o755)
        with Hosts(WORKERS) as hosts, ReachableServer(folder) as server:
            await Migrator(DatabaseSettings(url=server.url())).up()
            async with start_run("f9_hosts_are_cut_off", server.url()) as run:
                for number in range(WORKERS):
                    run.spawn(url=server.url(f"{SUBNET}.1"), prefix=hosts.prefix(number))
                await run.until(lambda: _all_here(run), "three workers to start", 60)
                over = asyncio.Event()
                enqueueing = asyncio.create_task(_enqueue_until(run, over))
                seconds = 0.0
                for _ in range(PARTITIONS):
                    lasts = run.random.choice([run.random.uniform(1, 5), run.random.uniform(5, 30)])
                    with _cut(run, hosts):
                        await asyncio.sleep(lasts)  # how long it lasts is the fault
                    seconds += lasts
                    await asyncio.sleep(run.random.uniform(0, 3))
                over.set()
                wished = await enqueueing
                await run.completed(wished, 60)
                await run.settle()
                await run.until(lambda: _all_here(run), "three workers to come back", 30)

                figures = await run.verdict(partitions=PARTITIONS, cut_off_for=f"{seconds:.0f} s")
    assert figures.completions == wished
    assert figures.overlaps == 0, "a worker that cannot renew stops its handlers first"
    assert figures.extra_executions <= PARTITIONS * SLOTS


def _cut(run: FaultRun, hosts: Hosts) -> AbstractContextManager[None]:
    worker = run.random.randrange(WORKERS)
    way = run.random.choice(["both", "input", "output"])
    return hosts.unplugged(worker) if way == "both" else hosts.one_way(worker, way)


async def _all_here(run: FaultRun) -> bool:
    alive = "SELECT count(*) FROM control_plane.workers WHERE heartbeat_at > now() - interval '2 s'"
    return await run.fetchval(alive) == WORKERS


async def _enqueue_until(run: FaultRun, over: asyncio.Event) -> int:
    count = 0
    while not over.is_set():
        await run.client.enqueue_surely("work", {"seconds": 0.2}, key=f"{count}", max_attempts=20)
        count += 1
        await asyncio.sleep(0.02)
    return count
