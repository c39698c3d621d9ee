"""Connections that end at any moment, and outcomes that cannot be stored at once (F7): nothing runs twice (I4, I13)."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from tests.faults.load import Load
from tests.faults.proxy import FaultProxy
from tests.faults.run import FaultRun
from tests.support import until

LISTENING: Final = "(query LIKE 'LISTEN%' OR query LIKE '%still_listening%')"
OURS: Final = "datname = current_database() AND application_name LIKE 'jobplane %'"
MOST_BACKENDS: Final = 3 + 2 + 1 + 1 + 1
"""Of one worker with one queue: its pool, reporters, claimer, listener and heartbeat."""


async def test_f7_terminated_backends(fault_run: FaultRun) -> None:
    """5 times a second, a backend of a worker is terminated: any, or that of a listener or heartbeat."""
    run = fault_run
    workers = [run.spawn() for _ in range(2)]
    await run.ready()
    terminated, slowest = 0, 0.0
    async with Load(run, 4) as load:
        end = time.monotonic() + (60 if run.long else 10)
        while time.monotonic() < end:
            kind = run.random.choice(["any", "any", "listener", "heartbeat"])
            # The pause is part of the fault.
            await asyncio.sleep(0.2)
            slowest = max(slowest, await _terminate(run, kind))
            terminated += 1
    await run.settle()

    async def few_enough() -> bool:
        return await run.fetchval(
            f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}"
        ) <= MOST_BACKENDS * len(workers)

    await run.until(few_enough, f"at most {MOST_BACKENDS} backends of each worker", 5)
    figures = await run.verdict(terminated=terminated, listening_again_after=f"{slowest:.2f} s")
    assert figures.completions == load.enqueued
    assert figures.extra_executions == 0
    assert slowest <= 1


async def test_f7_a_listener_that_was_cut_off_listens_again(fault_run: FaultRun) -> None:
    """With a poll interval of a minute, only notifications start jobs at once."""
    run = fault_run
    run.spawn(JOBPLANE_POLL_INTERVAL="60")
    await run.ready()
    latencies = []
    for number in range(20 if run.long else 3):
        await _terminate(run, "listener")
        made = await run.client.enqueue("work", {}, key=f"after cut {number}")
        enqueued = time.monotonic()

        async def has_begun(job: str = str(made.id)) -> bool:
            return run.starts()[job] > 0

        await run.until(has_begun, "a notified job to begin (I13), as the next poll is a minute away", 3)
        latencies.append(time.monotonic() - enqueued)
    await run.settle()
    await run.verdict(cuts=len(latencies), start_latency_max=f"{max(latencies) * 1000:.0f} ms")


async def test_f7_an_outcome_that_could_not_be_stored_is_stored_later(fault_run: FaultRun) -> None:
    """A worker without patience, cut off while its handlers end: it keeps the outcomes, and nothing runs twice."""
    run, jobs = fault_run, 8
    async with FaultProxy(run.url, run.random) as proxy:
        run.spawn(url=proxy.url, JOBPLANE_PATIENCE="0")
        await run.ready()
        for number in range(10 if run.long else 1):
            for job in range(jobs):
                await run.client.enqueue("work", {"seconds": 0.6}, key=f"{number} {job}")
            await run.started((number + 1) * jobs)
            proxy.cut()

            async def all_ended(count: int = (number + 1) * jobs) -> bool:
                return len(run.journal.entries("end")) == count

            await run.until(all_ended, "the handlers to end")
            proxy.heal()
            await run.settle()
        figures = await run.verdict()
    assert figures.extra_executions == 0
    assert figures.rescues == 0, "it was within the lease"


async def _terminate(run: FaultRun, kind: str) -> float:
    """Terminate a backend; for a listener, seconds until its worker listens again."""
    which = {
        "any": OURS,
        "listener": f"{OURS} AND {LISTENING}",
        "heartbeat": f"{OURS} AND application_name LIKE 'jobplane heartbeat %'",
    }[kind]
    backends = await run.fetch(
        f"SELECT pid, application_name, {LISTENING} AS listens FROM pg_stat_activity WHERE {which} ORDER BY backend_start"
    )
    if not backends:
        return 0.0
    chosen = run.random.choice(backends)
    await run.fetch("SELECT pg_terminate_backend($1)", chosen["pid"])
    if not chosen["listens"]:
        return 0.0
    cut = time.monotonic()

    async def listens_again() -> bool:
        query = (
            f"SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND pid <> $2 AND {LISTENING}"
        )
        return await run.fetchval(query, chosen["application_name"], chosen["pid"]) > 0

    await until(listens_again, 5)
    return time.monotonic() - cut
