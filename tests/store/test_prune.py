"""job/prune: ended jobs go when their status's retention is over; nothing else ever does (I1)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jobplane import JobStatus, WorkerSettings
from jobplane.store.store import Store
from tests.factories import SQL, count_jobs, make_job

DAY = timedelta(days=1)
KEEP = WorkerSettings(keep_completed=2 * DAY, keep_failed=5 * DAY, keep_cancelled=3 * DAY)
ENDED = [(JobStatus.COMPLETED, 2), (JobStatus.FAILED, 5), (JobStatus.CANCELLED, 3)]


@pytest.mark.parametrize(("status", "days"), ENDED)
async def test_an_ended_job_is_deleted_when_its_retention_is_over(
    store: Store, sql: SQL, status: JobStatus, days: int
) -> None:
    await make_job(sql, status, scheduled_at=-9 * DAY, completed_at=-days * DAY - timedelta(minutes=1))
    young = await make_job(
        sql, status, scheduled_at=-9 * DAY, completed_at=-days * DAY + timedelta(minutes=1)
    )

    assert await store.prune(KEEP) == 1

    assert [row["id"] for row in await sql.fetch("SELECT id FROM control_plane.jobs")] == [young]


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
async def test_an_unfinished_job_is_never_deleted_however_old(
    store: Store, sql: SQL, status: JobStatus
) -> None:
    """I1."""
    await make_job(sql, status, scheduled_at=-900 * DAY, created_at=-900 * DAY, completed_at=-900 * DAY)

    assert await store.prune(KEEP) == 0
    assert await count_jobs(sql) == 1


async def test_no_more_than_the_limit_goes_at_once(store: Store, sql: SQL) -> None:
    for _ in range(5):
        await make_job(sql, JobStatus.COMPLETED, scheduled_at=-9 * DAY, completed_at=-9 * DAY)

    assert [await store.prune(KEEP, limit=2) for _ in range(4)] == [2, 2, 1, 0]


async def test_a_jobs_attempts_go_with_it(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.FAILED, scheduled_at=-9 * DAY, completed_at=-9 * DAY)
    await sql.execute(
        "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 1, 1, 'failed')",
        job_id,
    )

    assert await store.prune(KEEP) == 1

    assert await sql.fetchval("SELECT count(*) FROM control_plane.job_attempts") == 0


async def test_a_job_that_is_locked_is_left_for_the_next_time(store: Store, sql: SQL) -> None:
    """Someone may be retrying it at the moment."""
    job_id = await make_job(sql, JobStatus.FAILED, scheduled_at=-9 * DAY, completed_at=-9 * DAY)

    async with sql.transaction():
        await sql.execute("UPDATE control_plane.jobs SET status = 'pending' WHERE id = $1", job_id)
        assert await asyncio.wait_for(store.prune(KEEP), 5) == 0

    assert await store.prune(KEEP) == 0
    assert await count_jobs(sql) == 1


async def test_a_retention_of_nothing_deletes_what_has_ended_at_once(store: Store, sql: SQL) -> None:
    nothing = WorkerSettings(keep_completed=0 * DAY, keep_failed=0 * DAY, keep_cancelled=0 * DAY)
    for status, _ in ENDED:
        await make_job(sql, status, scheduled_at=timedelta(seconds=-5))
    await make_job(sql)

    assert await store.prune(nothing) == 3
    assert await count_jobs(sql) == 1
