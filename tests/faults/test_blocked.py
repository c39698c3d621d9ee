"""Handlers that let nothing else run, and handlers that never end (F4, F5): they cost themselves, and no one else."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from tests.faults.clients import jobs_of
from tests.faults.run import PROFILE, SLOTS, FaultRun

LEASE: Final = PROFILE.lease.total_seconds()
TIMEOUT: Final = 2.0
"""Of the handlers that hang, in seconds."""


async def test_f4_handlers_that_block_the_loop_or_hold_the_gil(fault_run: FaultRun) -> None:
    """Blocked for 3 L: without the GIL held, no job is taken back; with it, once at most, and then it is done."""
    run = fault_run
    jobs = 8 if run.long else 2
    blocked = [run.spawn(JOBPLANE_QUEUES="loop:1", JOBPLANE_PREFETCH="0") for _ in range(2)]
    for _ in range(2):
        run.spawn(JOBPLANE_QUEUES="gil:1", JOBPLANE_PREFETCH="0")
    await run.ready()
    asleep = jobs_of("block_loop", [{"seconds": 3 * LEASE}] * jobs, queue="loop")
    holding = jobs_of("hold_gil", [{"seconds": 3 * LEASE}] * jobs, queue="gil")
    await run.client.enqueue_many(asleep + holding)

    await run.started(4)
    # Ready to take over what is taken back.
    run.spawn(JOBPLANE_QUEUES="loop:1,gil:4", JOBPLANE_PREFETCH="0")
    await run.completed(2 * jobs)
    await run.settle()

    starts = run.starts()
    warned = [worker for worker in blocked if "event loop has not run" in worker.log.read_text()]
    await run.verdict(
        extra_executions_blocked=sum(starts[str(job.id)] - 1 for job in asleep),
        extra_executions_gil=sum(starts[str(job.id)] - 1 for job in holding),
        workers_that_warned=len(warned),
    )
    assert all(starts[str(job.id)] == 1 for job in asleep)
    assert all(starts[str(job.id)] <= 2 for job in holding)
    assert warned
    assert all("block_loop" in worker.log.read_text() for worker in warned), "the warning names the type"


async def test_f5_handlers_that_hang(fault_run: FaultRun) -> None:
    """8 jobs that never end, in tasks and in threads, on 8 slots: all fail by their timeout, and others get the slots."""
    run = fault_run
    run.spawn()
    await run.ready()
    wishes = jobs_of("hang", [{}] * (SLOTS // 2), max_attempts=1) + jobs_of(
        "hang_in_thread", [{}] * (SLOTS // 2), max_attempts=1
    )
    await run.client.enqueue_many(wishes)
    await run.started(SLOTS)
    await run.client.enqueue_many(jobs_of("work", [{}] * SLOTS))

    await run.completed(SLOTS)
    await run.settle()

    history = await run.history()
    claimed = {event.job_id: event.at for event in history.transitions if event.verb == "claim"}
    failed = {event.job_id: event.at for event in history.transitions if event.verb == "fail"}
    slowest = max((failed[job] - claimed[job] for job in failed), default=timedelta(0))
    outcomes = await run.fetch(
        "SELECT outcome, count(*) AS jobs FROM control_plane.job_attempts GROUP BY outcome"
    )
    await run.verdict(timed_out=len(failed), slowest=f"{slowest.total_seconds():.2f} s")
    assert [(row["outcome"], row["jobs"]) for row in outcomes] == [("timeout", SLOTS)]
    assert slowest.total_seconds() <= TIMEOUT + PROFILE.sweep_interval.total_seconds() + 1
