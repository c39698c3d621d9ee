"""What handlers do to each other, and what is taken for their end (I4, I9, I22)."""

from __future__ import annotations

from tests.faults.clients import jobs_of
from tests.faults.run import FaultRun
from tests.faults.test_overlaps import overlaps

COUNT = 8


async def test_a_late_cancellation_reaches_no_other_job(fault_run: FaultRun) -> None:
    """With one slot: each innocent job runs where the one before it has just ended."""
    run = fault_run
    jobs = [
        job
        for _ in range(COUNT)
        for type_ in ("cancels_itself_too_late", "innocent")
        for job in jobs_of(type_, [{}], max_attempts=1)
    ]
    run.spawn(slots=1, targets="tests.faults.handlers_apart:apart")
    await run.ready()
    await run.client.enqueue_many(jobs)
    await run.settle(60)

    disturbed = await run.count("failed")
    assert disturbed == 0, f"I22: {disturbed} jobs were ended by what another had left behind"
    await run.verdict()


async def test_no_job_is_completed_before_its_work_is_done(fault_run: FaultRun) -> None:
    run = fault_run
    run.spawn(targets="tests.faults.handlers_apart:apart")
    await run.ready()
    await run.client.enqueue_many(jobs_of("hides_its_work", [{}] * COUNT))
    await run.settle(60)

    done = len(run.journal.entries("effect"))
    assert (await run.count("completed"), done) == (COUNT, COUNT), (
        f"I4: the work of {COUNT - done} jobs was not done"
    )
    await run.verdict()


async def test_no_attempt_begins_beside_a_thread_of_the_last(fault_run: FaultRun) -> None:
    run = fault_run
    for _ in range(2):
        run.spawn(targets="tests.faults.handlers_overlap:watched")
    await run.ready()
    await run.client.enqueue_many(
        jobs_of("too_long_and_deaf_in_a_thread", [{"seconds": 1.2}] * COUNT, max_attempts=5)
    )

    async def all_ended() -> bool:
        # Not settle(): between two attempts a job neither runs nor is due.
        query = "SELECT count(*) FROM control_plane.jobs WHERE status IN ('pending', 'running')"
        return await run.fetchval(query) == 0

    await run.until(all_ended, "all attempts to end", 120)

    found = overlaps(run)
    assert not found, f"I9: {len(found)} moments of an attempt beside the next\n" + "\n".join(found[:5])
    await run.verdict()
