"""A transaction holds an old snapshot under load (F13): claims step over what cannot be vacuumed away."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import asyncpg

from tests.faults.clients import jobs_of
from tests.faults.run import FaultRun

RATE: Final = 150
"""Jobs a second."""
NOISE: Final = 0.02
"""Seconds that the machine itself may add to the slowest claims."""


@dataclass(frozen=True)
class Stretch:
    """What was seen in some seconds of load."""

    rate: float
    p50: float
    p99: float
    onward: int
    """Claims that went on behind the last one."""


async def test_f13_claims_stay_quick_while_a_snapshot_is_held(fault_run: FaultRun) -> None:
    """Many jobs flow through under the snapshot, then the usual load is measured, then again after its end."""
    run = fault_run
    times = run.folder / "claims.txt"
    for _ in range(2):
        run.spawn(targets="tests.faults.timed", JOBPLANE_TEST_TIMES=str(times), slots=20)
    await run.ready()
    seconds = 60 if run.long else 6
    await _load(run, times, 2)  # warms up
    before = await _load(run, times, seconds)

    holder = await asyncpg.connect(run.url, server_settings={"application_name": "a long report"})
    async with holder.transaction(isolation="repeatable_read"):
        await holder.fetchval("SELECT count(*) FROM control_plane.jobs")
        flood = 200_000 if run.long else 15_000
        done = await run.count("completed")
        await run.client.enqueue_many(jobs_of("work", [{}] * flood, max_attempts=5))
        await run.completed(done + flood, 600)
        during = await _load(run, times, 10 * seconds if run.long else seconds)
    await holder.close()
    await run.fetch("VACUUM control_plane.jobs")  # what autovacuum does within a minute
    after = await _load(run, times, seconds)
    await run.settle()

    await run.verdict(
        claim_p50=_row(before.p50, during.p50, after.p50),
        claim_p99=_row(before.p99, during.p99, after.p99),
        jobs_per_second=f"{before.rate:.0f} {during.rate:.0f} {after.rate:.0f}",
        went_on=f"{before.onward} {during.onward} {after.onward}",
    )
    assert during.rate >= 0.6 * before.rate
    assert during.p99 <= max(5 * before.p99, NOISE)
    assert during.p50 <= max(5 * before.p50, NOISE / 4)
    assert after.rate >= 0.9 * before.rate


async def _load(run: FaultRun, times: Path, seconds: float) -> Stretch:
    """RATE jobs a second for so long; what became of them by the end."""
    seen = len(_lines(times))
    done = await run.count("completed")
    began = time.monotonic()
    calls = []
    for number in range(int(RATE * seconds)):
        # The rate is the load, not a wait for something.
        await asyncio.sleep(max(began + number / RATE - time.monotonic(), 0))
        key = f"{began} {number}"
        calls.append(asyncio.create_task(run.client.enqueue_surely("work", {"seconds": 0.01}, key=key)))
    await asyncio.gather(*calls)
    rate = (await run.count("completed") - done) / (time.monotonic() - began)
    lines = [line.split() for line in _lines(times)[seen:]]
    took = sorted(float(line[0]) for line in lines)
    onward = sum(line[1] == "onward" for line in lines)
    return Stretch(rate, median(took), took[int(len(took) * 0.99)], onward)


def _lines(times: Path) -> list[str]:
    return times.read_text().splitlines() if times.exists() else []


def _row(*seconds: float) -> str:
    return " ".join(f"{value * 1000:.1f}" for value in seconds) + " ms"
