"""A rolling deploy (F22): types come before the workers that know them and go after those that did (I18)."""

from __future__ import annotations

from typing import Final

from jobplane import JobStatus
from jobplane.job import NewJob
from tests.faults.clients import jobs_of
from tests.faults.load import Load
from tests.faults.run import FaultRun

OLD: Final = "tests.faults.handlers_jobs:last_release"
NEW: Final = "tests.faults.handlers_jobs:next_release"
EACH: Final = 20


async def test_f22_a_rolling_deploy_and_its_rollback(fault_run: FaultRun) -> None:
    """Old workers, old and new ones, new ones, and old ones again, with jobs of every type at any time."""
    run = fault_run
    old = [run.spawn(targets=OLD, slots=4) for _ in range(2)]
    await run.ready()
    async with Load(run, 2) as load:
        early = jobs_of("added", [{}] * EACH, max_attempts=1)
        await run.client.enqueue_many(early)
        await _waits(run, "added")
        await run.completed(
            load.enqueued + 20
        )  # the others go on, past what waits at the head of their queue
        await _untouched(run, early)

        new = [run.spawn(targets=NEW, slots=4)]
        await _all_completed(run, early)
        assert await run.stop(old.pop()) == 0
        both = [*jobs_of("added", [{}] * EACH), *jobs_of("removed", [{}] * EACH)]
        await run.client.enqueue_many(both)
        await _all_completed(run, both)

        new.append(run.spawn(targets=NEW, slots=4))
        await run.ready()
        assert await run.stop(old.pop()) == 0
        late = jobs_of("removed", [{}] * EACH, max_attempts=1)
        await run.client.enqueue_many(late)
        await _waits(run, "removed")
        await run.completed(load.enqueued + 20)
        await _untouched(run, late)

        run.spawn(targets=OLD, slots=4)
        await _all_completed(run, late)
        assert await run.queue.list_unclaimable() == []
    await run.settle()

    figures = await run.verdict(waited=2 * EACH)
    assert figures.completions == load.enqueued + 4 * EACH


async def _waits(run: FaultRun, kind: str) -> None:
    async def shown() -> bool:
        found = await run.queue.list_unclaimable()
        return [(one.type, one.jobs) for one in found] == [(kind, EACH)]

    await run.until(shown, f"{EACH} unclaimable jobs of {kind} to be shown")


async def _untouched(run: FaultRun, wishes: list[NewJob]) -> None:
    for wish in wishes:
        job = await run.queue.get_job(wish.id)
        assert job is not None
        assert (job.status, job.attempts, job.lease_epoch) == (JobStatus.PENDING, 0, 0)


async def _all_completed(run: FaultRun, wishes: list[NewJob]) -> None:
    ids = [wish.id for wish in wishes]

    async def all_are() -> bool:
        query = "SELECT count(*) FROM control_plane.jobs WHERE id = ANY ($1) AND status = 'completed'"
        return await run.fetchval(query, ids) == len(ids)

    await run.until(all_are, f"{len(ids)} jobs to complete")
