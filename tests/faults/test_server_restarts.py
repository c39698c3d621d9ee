"""The server crashes, is killed and is restarted under load (F6): nothing acknowledged is lost (I1, I2, I5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from tests.faults.load import Load
from tests.faults.restarts import WAYS, migrate, mortal_server, restart
from tests.faults.run import PROFILE, SLOTS, FaultRun

ENQUEUERS: Final = 4
SECONDS: Final = 0.05
"""How long a job takes."""
AHEAD: Final = 0.1
"""Seconds of work that a worker claims ahead: the default of prefetch."""


async def test_f6_the_server_restarts_under_load(start_run: Callable[[str, str], FaultRun]) -> None:
    """Crash, kill -9 of the postmaster and fast restart in turn, while clients enqueue under keys and workers work."""
    with mortal_server() as server:
        await migrate(server.url())
        async with start_run("f6_the_server_restarts_under_load", server.url()) as run:
            for _ in range(2):
                run.spawn()
            await run.ready()
            outages, slowest = [], 0.0
            ways = [*WAYS] * (14 if run.long else 1)
            run.random.shuffle(ways)
            async with Load(run, ENQUEUERS, seconds=SECONDS) as load:
                for way in ways:
                    # Time for load between two outages is part of the fault.
                    await asyncio.sleep(run.random.uniform(5, 15) if run.long else run.random.uniform(1.5, 3))
                    gone = time.monotonic()
                    await asyncio.to_thread(restart, server, way)
                    outages.append(time.monotonic() - gone)
                    slowest = max(slowest, await _until_work_goes_on(run))
            await run.settle(20)
            run.allowance = timedelta(seconds=max(outages) + slowest)

            figures = await run.verdict(
                outages=len(outages), longest_outage=f"{max(outages):.2f} s", back_after=f"{slowest:.2f} s"
            )
    assert figures.completions == load.enqueued, "calls without an answer ended as exactly one job"
    assert slowest <= 2
    heartbeats_missed = PROFILE.lease - PROFILE.heartbeat_interval
    longer = [outage for outage in outages if outage >= heartbeats_missed.total_seconds()]
    # In flight is what runs, and what ended and could not be stored: at most what was claimed, 100 ms of work ahead.
    assert figures.extra_executions <= len(longer) * 2 * (SLOTS + round(AHEAD * SLOTS / SECONDS))


async def _until_work_goes_on(run: FaultRun) -> float:
    """Seconds from the server's being ready to the first outcome that it stored."""
    ready = time.monotonic()
    before = await run.count("completed")

    async def more() -> bool:
        return await run.count("completed") > before

    await run.until(more, "work to go on after the server's return")
    return time.monotonic() - ready
