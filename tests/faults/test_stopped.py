"""Workers that are stopped and continued, and cannot know that time has passed (F3): fenced, and soon aware (I5, I9)."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Final

from tests.faults.clients import jobs_of
from tests.faults.run import PROFILE, FaultRun
from tests.support import WorkerProcess

LEASE: Final = PROFILE.lease.total_seconds()
REFUSED: Final = "its outcome was refused"
"""What a worker says whose write came too late."""


async def test_f3_stopped_and_continued_workers(fault_run: FaultRun) -> None:
    """3 workers of 8 slots with jobs of 3 L; one after the other is stopped for 1.5 L or more and continued."""
    run, jobs = fault_run, 12
    rounds = 12 if run.long else 2
    for _ in range(3):
        run.spawn()
    await run.ready()
    tasks_dropped = stops = 0
    slowest = 0.0
    held_when_stopped: dict[str, int] = {}
    for number in range(rounds):
        wishes = jobs_of("work", [{"seconds": 3 * LEASE}] * (jobs // 2), max_attempts=50)
        wishes += jobs_of("stubborn", [{"seconds": 3 * LEASE}] * (jobs // 2), max_attempts=50)
        await run.client.enqueue_many(wishes)
        await run.started((number + 1) * jobs)
        # Whoever claimed first took most: one of those that have any.
        zombie = run.random.choice([worker for worker in run.workers if _running_on(run, worker)])
        held = _running_on(run, zombie)
        for job in held:
            held_when_stopped[job] = held_when_stopped.get(job, 0) + 1

        zombie.signal(signal.SIGSTOP)
        stops += 1
        # How long it is stopped is the fault; longer than the lease in any case.
        await asyncio.sleep(run.random.uniform(1.5, 5.0 if run.long else 2.0) * LEASE)
        continued = time.time()
        zombie.signal(signal.SIGCONT)
        await run.settle(3 * LEASE + 4 * PROFILE.recovery.total_seconds())

        dropped = [
            float(str(entry["at"])) - continued
            for entry in run.journal.entries("cancelled")
            if entry["pid"] == zombie.pid and str(entry["job"]) in held
        ]
        slowest = max([slowest, *dropped])
        tasks_dropped += len(dropped)

    refused = sum(worker.log.read_text().count(REFUSED) for worker in run.workers)
    figures = await run.verdict(
        stops=stops, stale_writes_refused=refused, zombie_let_go_after=f"{slowest:.2f} s"
    )
    starts = run.starts()
    assert all(starts[job] <= 1 + times for job, times in held_when_stopped.items()), (
        "at most one more for each stop"
    )
    assert figures.completions == rounds * jobs
    # Of the jobs in flight, the stubborn half end as if all were well; the others heed.
    assert refused + tasks_dropped >= sum(held_when_stopped.values())
    assert refused >= 1
    assert slowest <= PROFILE.heartbeat_interval.total_seconds() + 1


def _running_on(run: FaultRun, worker: WorkerProcess) -> set[str]:
    over = {str(entry["job"]) for kind in ("end", "cancelled") for entry in run.journal.entries(kind)}
    begun = {str(entry["job"]) for entry in run.journal.entries("start") if entry["pid"] == worker.pid}
    return begun - over
