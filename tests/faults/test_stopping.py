"""Workers that are told to stop while others work on (F20): in time, with the right code, and nothing runs twice (I23)."""

from __future__ import annotations

import signal
import time
from collections.abc import Awaitable, Callable
from typing import Final

from jobplane.job import NewJob
from tests.faults.clients import jobs_of
from tests.faults.load import Load
from tests.faults.run import GRACE, PROFILE, FaultRun
from tests.proxy import Proxy
from tests.support import WorkerProcess, until

BEYOND: Final = 1.5
"""Seconds that stopping may take beyond the grace period: the promised one, and the end of the interpreter."""
QUEUES: Final = "default:4,slow:4"


async def test_f20_signals_at_any_moment(fault_run: FaultRun) -> None:
    """Idle, with jobs shorter and longer than the grace period, twice, during the start, and without a database."""
    run = fault_run
    for _ in range(2):
        run.spawn(slots=4)
    await run.ready()
    took: dict[str, float] = {}
    async with Load(run, 2) as load:
        for _ in range(5 if run.long else 1):
            for stop in (_idle, _finishing, _releasing, _impatient, _starting, _without_database):
                name, seconds = stop.__name__.strip("_"), await stop(run)
                took[name] = max(took.get(name, 0.0), seconds)
    await run.settle(30)

    shown = {name: f"{seconds:.2f} s" for name, seconds in took.items()}
    figures = await run.verdict(took=shown)
    assert figures.completions >= load.enqueued
    assert took["idle"] <= 1 + BEYOND
    assert took["finishing"] <= GRACE + BEYOND
    assert took["releasing"] <= GRACE + BEYOND
    assert took["impatient"] <= 1
    assert took["starting"] <= GRACE + BEYOND
    assert took["without_database"] <= GRACE + BEYOND


async def _stopped(run: FaultRun, worker: WorkerProcess, expected: set[int]) -> float:
    began = time.monotonic()
    code = await run.stop(worker)
    took = time.monotonic() - began
    assert code in expected, f"exit code {code}\n{worker.log.read_text()[-2000:]}"
    return took


async def _idle(run: FaultRun) -> float:
    worker = run.spawn(JOBPLANE_QUEUES="nothing:4")
    await run.ready()
    return await _stopped(run, worker, {0})


async def _finishing(run: FaultRun) -> float:
    """Jobs that end within the grace period are completed: none runs again."""
    worker = run.spawn(JOBPLANE_QUEUES=QUEUES)
    wishes = jobs_of("work", [{"seconds": GRACE - 0.8} for _ in range(4)], queue="slow")
    await _begun(run, wishes, lambda: run.client.enqueue_many(wishes))
    took = await _stopped(run, worker, {0})
    for wish in wishes:
        job = await run.queue.get_job(wish.id)
        assert job is not None
        assert (job.status, job.lease_epoch) == ("completed", 1)
    return took


async def _releasing(run: FaultRun) -> float:
    """Longer jobs are handed back, and start elsewhere within a poll interval, long before their lease would end."""
    worker = run.spawn(JOBPLANE_QUEUES=QUEUES, JOBPLANE_LEASE="60")
    wishes = jobs_of("work", [{"seconds": 8} for _ in range(3)], queue="slow")
    await _begun(run, wishes, lambda: run.client.enqueue_many(wishes))
    heir = run.spawn(JOBPLANE_QUEUES="slow:4", JOBPLANE_GRACE="0")
    await run.ready()
    took = await _stopped(run, worker, {0})
    gone = time.monotonic()
    await _begun(run, wishes, None, times=2)
    # They may start before the process has ended; what counts is that nobody waits for a lease of 60 s.
    assert time.monotonic() - gone <= PROFILE.poll_interval.total_seconds() + 0.5
    await _completed(run, wishes)
    assert await run.stop(heir) == 0
    return took


async def _impatient(run: FaultRun) -> float:
    worker = run.spawn(JOBPLANE_QUEUES="slow:4", JOBPLANE_GRACE="60")
    wishes = jobs_of("work", [{"seconds": 3}], queue="slow")
    await _begun(run, wishes, lambda: run.client.enqueue_many(wishes))
    worker.signal(signal.SIGINT)

    async def it_heard() -> bool:
        return "stopping" in worker.log.read_text()

    await until(it_heard)
    run.workers.remove(worker)
    worker.signal(signal.SIGINT)
    began = time.monotonic()
    code = await worker.exit_code()
    took = time.monotonic() - began
    assert code == 128 + signal.SIGINT
    heir = run.spawn(JOBPLANE_QUEUES="slow:4")
    await _begun(run, wishes, None, times=2)
    await _completed(run, wishes)
    assert await run.stop(heir) == 0
    return took


async def _starting(run: FaultRun) -> float:
    longest = 0.0
    for _ in range(3):
        worker, moment = run.spawn(), run.random.uniform(0, 0.6)

        async def it_has_worked_so_far(worker: WorkerProcess = worker, moment: float = moment) -> bool:
            seconds = worker.cpu_seconds()
            return seconds is None or seconds >= moment

        await until(it_has_worked_so_far)
        # Until Python runs our code, SIGTERM means what it means to every process.
        longest = max(longest, await _stopped(run, worker, {0, -signal.SIGTERM}))
    return longest


async def _without_database(run: FaultRun) -> float:
    """Its jobs come back by their leases."""
    async with Proxy(run.url) as proxy:
        worker = run.spawn(url=proxy.url, JOBPLANE_QUEUES="slow:4")
        wishes = jobs_of("work", [{"seconds": 5} for _ in range(3)], queue="slow")
        await _begun(run, wishes, lambda: run.client.enqueue_many(wishes))
        proxy.cut()
        took = await _stopped(run, worker, {0})
    heir = run.spawn(JOBPLANE_QUEUES="slow:4")
    await _begun(run, wishes, None, times=2)
    await _completed(run, wishes)
    assert await run.stop(heir) == 0
    return took


async def _begun(
    run: FaultRun, wishes: list[NewJob], enqueue: Callable[[], Awaitable[None]] | None, times: int = 1
) -> None:
    if enqueue is not None:
        await enqueue()
    ids = {str(wish.id) for wish in wishes}

    async def all_have() -> bool:
        starts = run.starts()
        return all(starts[job_id] >= times for job_id in ids)

    await run.until(all_have, f"{len(ids)} jobs to begin {times} times")


async def _completed(run: FaultRun, wishes: list[NewJob]) -> None:
    ids = [wish.id for wish in wishes]

    async def all_are() -> bool:
        query = "SELECT count(*) FROM control_plane.jobs WHERE id = ANY ($1) AND status = 'completed'"
        return await run.fetchval(query, ids) == len(ids)

    await run.until(all_are, f"{len(ids)} jobs to complete", 30)
