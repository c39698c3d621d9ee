"""Ordering keys and limits of queues while workers die (F25): never more than n at once, strict order (I14, I16)."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.faults.clients import jobs_of
from tests.faults.run import PROFILE, FaultRun

KEYS: Final = [f"key-{number}" for number in range(10)]
LIMITED: Final = [f"limited-{number}" for number in range(10)]


async def test_f25_ordering_keys_and_limits_under_kill_9(fault_run: FaultRun) -> None:
    """Ten queues with limit 1 and ten with limit 3; one of four workers is killed every 0.3 to 0.7 s, a fifth is spared."""
    run = fault_run
    run.limits = {**dict.fromkeys(KEYS, 1), **dict.fromkeys(LIMITED, 3)}
    run.ordered_queues = frozenset(KEYS)
    for queue, most in run.limits.items():
        await run.queue.limit_queue(queue, most)
    share = 20 if run.long else 1
    for queue, most in run.limits.items():
        for priority in (0, 5):
            payloads = [{"seconds": run.random.uniform(0.02, 0.1)} for _ in range(20 * most * share)]
            await run.client.enqueue_many(
                jobs_of("work", payloads, queue=queue, priority=priority, max_attempts=100)
            )
    queues = ",".join(f"{queue}:{most}" for queue, most in run.limits.items())
    spared = run.spawn(JOBPLANE_QUEUES=queues)
    for _ in range(4):
        run.spawn(JOBPLANE_QUEUES=queues)
    await run.ready()
    jobs = 20 * 2 * (10 + 30) * share

    while await run.count("completed") < jobs * 0.9:
        # The pause is part of the fault, not a wait for something.
        await asyncio.sleep(run.random.uniform(0.3, 0.7))
        await run.kill(run.random.choice([worker for worker in run.workers if worker is not spared]))
        run.spawn(JOBPLANE_QUEUES=queues)
    await run.completed(jobs, 600)
    await run.settle()

    figures = await run.verdict(kills=run.kills, queues=len(run.limits))
    assert figures.completions == jobs
    assert figures.recovery_max is not None, "kills in the middle of the work leave jobs to take back"
    assert figures.recovery_max <= PROFILE.recovery.total_seconds()
