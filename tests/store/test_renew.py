"""job/renew: a heartbeat extends the leases that are still held, and learns of the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from jobplane import JobStatus
from jobplane.store.store import LeaseReport, Store
from tests.factories import SQL, claim_of, make_job, row_of

LEASE = timedelta(seconds=90)


async def test_a_held_lease_is_extended_from_the_databases_now(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(seconds=5))

    reports = await store.renew([await claim_of(sql, job_id)], LEASE)

    left = await sql.fetchval("SELECT lease_expires_at - now() FROM control_plane.jobs")
    assert timedelta(seconds=80) < left <= LEASE
    assert reports == [LeaseReport(job_id, 1, renewed=True, ours=True, cancel_requested=False)]


async def test_a_lease_that_expired_but_was_not_taken_is_renewed(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(seconds=-5))

    (report,) = await store.renew([await claim_of(sql, job_id)], LEASE)

    assert report.renewed
    assert await sql.fetchval("SELECT lease_expires_at > now() FROM control_plane.jobs")


async def test_a_late_heartbeat_never_takes_the_job_back(store: Store, sql: SQL) -> None:
    """I9: another worker has claimed it meanwhile."""
    job_id = await make_job(sql, JobStatus.RUNNING)
    stale = await claim_of(sql, job_id)
    await sql.execute(
        "UPDATE control_plane.jobs SET lease_epoch = 2, worker_id = 'other' WHERE id = $1", job_id
    )
    before = await row_of(sql, job_id)

    reports = await store.renew([stale], LEASE)

    assert reports == [LeaseReport(job_id, 1, renewed=False, ours=False, cancel_requested=False)]
    assert await row_of(sql, job_id) == before


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.RUNNING}))
async def test_a_job_that_is_not_running_is_no_longer_ours(store: Store, sql: SQL, status: JobStatus) -> None:
    job_id = await make_job(sql, status, lease_epoch=1)
    before = await row_of(sql, job_id)

    (report,) = await store.renew([await claim_of(sql, job_id)], LEASE)

    assert (report.renewed, report.ours) == (False, False)
    assert await row_of(sql, job_id) == before


async def test_a_deleted_job_is_no_longer_ours(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING)
    claim = await claim_of(sql, job_id)
    await sql.execute("DELETE FROM control_plane.jobs")

    (report,) = await store.renew([claim], LEASE)

    assert (report.id, report.renewed, report.ours) == (job_id, False, False)


async def test_a_request_to_cancel_is_heard_by_the_heartbeat(store: Store, sql: SQL) -> None:
    """I12."""
    job_id = await make_job(sql, JobStatus.RUNNING, cancel_requested_at=timedelta(0))

    (report,) = await store.renew([await claim_of(sql, job_id)], LEASE)

    assert (report.renewed, report.ours, report.cancel_requested) == (True, True, True)


async def test_a_locked_row_is_reported_as_ours_and_nothing_waits_for_it(store: Store, sql: SQL) -> None:
    """It is just being finished or cancelled; waiting could deadlock with a batch."""
    locked, free = [await make_job(sql, JobStatus.RUNNING) for _ in range(2)]
    claims = [await claim_of(sql, locked), await claim_of(sql, free)]

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", locked)
        reports = await asyncio.wait_for(store.renew(claims, LEASE), 5)

    by_id = {report.id: report for report in reports}
    assert (by_id[locked].renewed, by_id[locked].ours) == (False, True)
    assert (by_id[free].renewed, by_id[free].ours) == (True, True)


async def test_each_claim_of_a_batch_is_answered_for(store: Store, sql: SQL) -> None:
    ids = [await make_job(sql, JobStatus.RUNNING) for _ in range(20)]
    claims = [await claim_of(sql, job_id) for job_id in ids]
    await sql.execute("UPDATE control_plane.jobs SET lease_epoch = 9 WHERE id = ANY($1)", ids[:5])

    reports = await store.renew(claims, LEASE)

    assert {report.id for report in reports if report.renewed} == set(ids[5:])
    assert {report.id for report in reports} == set(ids)


async def test_an_old_claim_beside_the_current_one_of_the_same_job_is_told_apart(
    store: Store, sql: SQL
) -> None:
    """I9: a worker may get back a job whose earlier handler it still runs."""
    job_id = await make_job(sql, JobStatus.RUNNING)
    stale = await claim_of(sql, job_id)
    await sql.execute("UPDATE control_plane.jobs SET lease_epoch = 2")

    reports = await store.renew([stale, await claim_of(sql, job_id)], LEASE)

    assert {(report.epoch, report.renewed, report.ours) for report in reports} == {
        (1, False, False),
        (2, True, True),
    }


async def test_a_job_that_is_not_named_is_left_alone_whatever_its_epoch(store: Store, sql: SQL) -> None:
    named, other = [await make_job(sql, JobStatus.RUNNING) for _ in range(2)]
    before = await row_of(sql, other)

    reports = await store.renew([await claim_of(sql, named)], LEASE)

    assert reports == [LeaseReport(named, 1, renewed=True, ours=True, cancel_requested=False)]
    assert await row_of(sql, other) == before


async def test_a_row_that_refers_to_a_job_does_not_hide_it_from_its_heartbeat(store: Store, sql: SQL) -> None:
    """FOR NO KEY UPDATE, as in the claim."""
    job_id = await make_job(sql, JobStatus.RUNNING)
    claim = await claim_of(sql, job_id)

    async with sql.transaction():
        await sql.execute(
            "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 9, 1, 'failed')",
            job_id,
        )
        (report,) = await store.renew([claim], LEASE)

    assert report.renewed


async def test_nothing_to_renew_is_fine(store: Store) -> None:
    assert await store.renew([], LEASE) == []


async def test_which_jobs_someone_wants_cancelled(store: Store, sql: SQL) -> None:
    wanted = await make_job(sql, JobStatus.RUNNING)
    unwanted = await make_job(sql, JobStatus.RUNNING, cancel_requested_at=timedelta(0))
    claims = [await claim_of(sql, wanted), await claim_of(sql, unwanted)]

    assert await store.cancel_requested(claims) == [(unwanted, 1)]


async def test_a_request_counts_for_the_claim_that_runs_and_for_no_other(store: Store, sql: SQL) -> None:
    """I10: whoever asks about an earlier claim of the job, or about one that has ended, learns nothing of this one."""
    asked_for = await make_job(sql, JobStatus.RUNNING, cancel_requested_at=timedelta(0))
    ended = await make_job(sql, JobStatus.CANCELLED, cancel_requested_at=timedelta(0))
    current, of_ended = await claim_of(sql, asked_for), await claim_of(sql, ended)
    earlier = await claim_of(sql, asked_for)
    earlier.epoch -= 1

    assert await store.cancel_requested([current, of_ended, earlier]) == [(asked_for, current.epoch)]
    assert await store.cancel_requested([of_ended, earlier]) == []
