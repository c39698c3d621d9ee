"""Workers that die at any moment (F1, F2): every job ends, none is completed twice, recovery is bounded (I4 to I7)."""

from __future__ import annotations

import asyncio

from tests.faults.clients import jobs_of
from tests.faults.run import PROFILE, SLOTS, FaultRun


async def test_f1_kill_9_of_random_workers(fault_run: FaultRun) -> None:
    """4 workers of 8 slots, one of them killed every 0.3 to 1 s and replaced."""
    run, jobs = fault_run, 40_000 if fault_run.long else 4_000
    await run.client.enqueue_many(
        jobs_of("work", [{"seconds": run.random.uniform(0.005, 0.06)} for _ in range(jobs)], max_attempts=50)
    )
    for _ in range(4):
        run.spawn()

    while await run.count("completed") < jobs * 0.9:
        # The pause is part of the fault, not a wait for something.
        await asyncio.sleep(run.random.uniform(0.3, 1.0))
        await run.kill(run.random.choice(run.workers))
        run.spawn()
    await run.settle()

    figures = await run.verdict(kills=run.kills)
    assert figures.completions == jobs
    # A slot is free when its handler has ended; its outcome is durable a commit later, and until then a kill undoes it.
    assert figures.extra_executions <= run.kills * SLOTS * 3
    assert figures.recovery_max is None or figures.recovery_max <= PROFILE.recovery.total_seconds()
