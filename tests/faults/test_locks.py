"""Others lock the table, or one row of it (F14): workers wait, and only for what is locked."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Final

import asyncpg

from tests.faults.clients import jobs_of
from tests.faults.run import FaultRun

TABLE_LOCKED: Final = 5.0
"""Seconds."""
MARGIN: Final = 3.0
"""Seconds by which leases are longer than the locks, as they are in production: no renewal can be written meanwhile."""


async def test_f14_the_table_is_locked_for_five_seconds(fault_run: FaultRun) -> None:
    run = fault_run
    for _ in range(2):
        run.spawn(JOBPLANE_LEASE=str(TABLE_LOCKED + MARGIN))
    await run.ready()
    over = asyncio.Event()
    enqueuers = [asyncio.create_task(_enqueue_until(run, over, number)) for number in range(4)]
    await run.completed(200)

    locker = await asyncpg.connect(run.url)
    async with locker.transaction():
        await locker.execute("LOCK TABLE control_plane.jobs IN ACCESS EXCLUSIVE MODE")
        # How long it is held is the fault.
        await asyncio.sleep(TABLE_LOCKED)
    await locker.close()
    done = await run.count("completed")
    await run.completed(done + 200)
    over.set()
    wished = sum(await asyncio.gather(*enqueuers))
    await run.settle()

    stall = await _longest_stall(run)
    figures = await run.verdict(stall=f"{stall:.2f} s")
    assert figures.completions == wished
    assert TABLE_LOCKED - 0.5 <= stall <= TABLE_LOCKED + 0.5
    assert figures.extra_executions == 0


async def test_f14_somebody_keeps_one_row_locked(fault_run: FaultRun) -> None:
    """A waiting job and a running one, by a session such as psql's with an open transaction."""
    run = fault_run
    locked_for = 60.0 if run.long else 6.0
    for _ in range(2):
        run.spawn(JOBPLANE_LEASE=str(locked_for + MARGIN))
    await run.ready()
    waiting = await run.client.enqueue("work", {}, key="locked while it waits", delay=1)
    running = await run.client.enqueue("work", {"seconds": 1}, key="locked while it runs")
    await run.started(1)

    locker = await asyncpg.connect(run.url)
    async with locker.transaction():
        await locker.execute(
            "SELECT FROM control_plane.jobs WHERE id = ANY ($1) FOR UPDATE", [waiting.id, running.id]
        )
        held = asyncio.create_task(asyncio.sleep(locked_for))
        others = 0
        while not held.done():
            await run.client.enqueue_many(jobs_of("work", [{"seconds": 0.01}] * 40, max_attempts=20))
            others += 40
            await run.completed(others)
        stall = await _longest_stall(run)
    await locker.close()
    await run.completed(others + 2, 20)
    await run.settle()

    figures = await run.verdict(others=others, stall=f"{stall:.2f} s")
    assert stall <= 1.0, "a locked row holds up the others by a lock_timeout or two"
    assert figures.completions == others + 2
    assert figures.extra_executions == 0


async def _enqueue_until(run: FaultRun, over: asyncio.Event, number: int) -> int:
    count = 0
    while not over.is_set():
        await run.client.enqueue_surely("work", {"seconds": 0.01}, key=f"{number} {count}", max_attempts=20)
        count += 1
    return count


async def _longest_stall(run: FaultRun) -> float:
    """The longest time between two completions, in seconds."""
    rows = await run.fetch(
        "SELECT extract(epoch FROM at)::float8 AS at FROM control_plane.job_events WHERE verb = 'complete' ORDER BY at"
    )
    return max(later - earlier for earlier, later in pairwise(float(row["at"]) for row in rows))
