"""Switchovers and killed leaders under Patroni with synchronous replication (F17): nothing acknowledged is lost (I1)."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobplane import DatabaseSettings
from jobplane.store.migrator import Migrator
from tests.faults.patroni import PatroniCluster
from tests.faults.programs import only_in_long_profile
from tests.faults.run import SLOTS, FaultRun

SWITCHOVERS: Final = 10
KILLS: Final = 5
AWAY: Final = 30.0
"""Seconds from the event to the next acknowledged enqueue and the next outcome."""


async def test_f17_patroni_moves_the_leader(start_run: Callable[[str, str], FaultRun]) -> None:
    """Three servers, ten switchovers and five killed leaders in any order."""
    only_in_long_profile()
    with tempfile.TemporaryDirectory(prefix="jobplane-patroni-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o777)
        async with PatroniCluster(folder) as cluster:
            await Migrator(DatabaseSettings(url=cluster.url)).up()
            async with start_run("f17_patroni_moves_the_leader", cluster.url) as run:
                for _ in range(2):
                    run.spawn()
                await run.ready()
                # Nobody can take anything back while nobody leads.
                run.allowance = timedelta(seconds=AWAY)
                over = asyncio.Event()
                enqueueing = asyncio.create_task(_enqueue_until(run, over))
                ways = ["switchover"] * SWITCHOVERS + ["kill"] * KILLS
                run.random.shuffle(ways)
                slowest = {"switchover": 0.0, "kill": 0.0}
                for number, way in enumerate(ways):
                    await cluster.healthy()
                    led = await cluster.leader()
                    began = time.monotonic()
                    await (cluster.switch_over() if way == "switchover" else cluster.kill_leader())
                    await run.client.enqueue_surely("work", {"seconds": 0.01}, key=f"first after {number}")
                    await run.until(lambda: _leads_another(cluster, led.name), "another leader", 60)  # noqa: B023 - called at once
                    made = await run.client.enqueue_surely(
                        "work", {"seconds": 0.01}, key=f"second after {number}"
                    )
                    await run.queue.wait(made.id, 60)
                    slowest[way] = max(slowest[way], time.monotonic() - began)
                over.set()
                wished = await enqueueing + 2 * len(ways)
                await cluster.healthy()
                await run.completed(wished, 60)
                await run.settle(60)

                history_told = {way: f"{seconds:.1f} s" for way, seconds in slowest.items()}
                figures = await run.verdict(
                    slowest_switchover=history_told["switchover"], slowest_kill=history_told["kill"]
                )
    assert figures.completions == wished
    assert max(slowest.values()) <= AWAY
    assert figures.extra_executions <= len(ways) * 2 * SLOTS


async def _leads_another(cluster: PatroniCluster, name: str) -> bool:
    return (await cluster.leader()).name != name


async def _enqueue_until(run: FaultRun, over: asyncio.Event) -> int:
    count = 0
    while not over.is_set():
        await run.client.enqueue_surely("work", {"seconds": 0.05}, key=f"{count}", max_attempts=50)
        count += 1
        await asyncio.sleep(0.02)
    return count
