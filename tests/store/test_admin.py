"""job/retry, job/cancel and job/progress, at the level of their rows."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import DatabaseSettings, JobStatus
from jobplane.errors import StatementError
from jobplane.store.database import Database
from jobplane.store.failures import is_unique_violation
from jobplane.store.store import Store
from tests.factories import SQL, claim_of, make_job, row_of

ENDED = [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED]


async def retry(database: Database, job_id: UUID, extra: int = 0) -> int:
    """How many rows a retry changed."""
    return len(
        await database.fetch(database.statement("job/retry"), {"id": str(job_id), "extra_attempts": extra})
    )


async def cancel(database: Database, job_id: UUID) -> list[str]:
    """The statuses that a cancel answered."""
    rows = await database.fetch(database.statement("job/cancel"), {"id": str(job_id)})
    return [row["status"] for row in rows]


@pytest.mark.parametrize("status", ENDED)
async def test_an_ended_job_is_pending_again_after_a_retry(
    database: Database, sql: SQL, status: JobStatus
) -> None:
    """I10. What counts its claims goes on counting."""
    job_id = await make_job(
        sql, status, attempts=1, lease_epoch=4, scheduled_at=timedelta(days=-1), last_error="e"
    )

    assert await retry(database, job_id) == 1

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"], row["max_attempts"], row["lease_epoch"]) == ("pending", 1, 3, 4)
    assert (row["completed_at"], row["cancel_requested_at"]) == (None, None)
    assert row["last_error"] == "e"
    assert await sql.fetchval("SELECT now() - scheduled_at < interval '1 minute' FROM control_plane.jobs")


@pytest.mark.parametrize("status", [JobStatus.PENDING, JobStatus.RUNNING])
async def test_an_unfinished_job_is_not_retried(database: Database, sql: SQL, status: JobStatus) -> None:
    job_id = await make_job(sql, status)
    before = await row_of(sql, job_id)

    assert await retry(database, job_id, 5) == 0
    assert await row_of(sql, job_id) == before


async def test_a_retry_beyond_the_attempts_needs_more_granted(database: Database, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.FAILED, attempts=3, max_attempts=3)

    assert await retry(database, job_id) == 0
    assert (await row_of(sql, job_id))["status"] == "failed"
    assert await retry(database, job_id, 2) == 1
    assert (await row_of(sql, job_id))["max_attempts"] == 5


async def test_retries_at_the_same_time_make_one_transition(settings: DatabaseSettings, sql: SQL) -> None:
    """I10: n concurrent retries, one change."""
    job_id = await make_job(sql, JobStatus.FAILED, attempts=3, max_attempts=3)
    database = Database(settings)

    changed = await asyncio.gather(*(retry(database, job_id, 1) for _ in range(20)))
    await database.close()

    assert sum(changed) == 1
    assert (await row_of(sql, job_id))["max_attempts"] == 4


async def test_a_retry_does_not_break_the_uniqueness_of_a_key(database: Database, sql: SQL) -> None:
    """I15."""
    job_id = await make_job(sql, JobStatus.FAILED, unique_key="k")
    await make_job(sql, unique_key="k")

    with pytest.raises(StatementError) as caught:
        await retry(database, job_id)

    assert is_unique_violation(caught.value)
    assert (await row_of(sql, job_id))["status"] == "failed"


async def test_a_pending_job_is_cancelled_at_once_and_never_starts(
    database: Database, store: Store, sql: SQL
) -> None:
    """I12."""
    job_id = await make_job(sql)

    assert await cancel(database, job_id) == ["cancelled"]

    row = await row_of(sql, job_id)
    assert row["completed_at"] is not None
    assert row["cancel_requested_at"] is not None
    assert await store.claim("default", ["work"], "w", timedelta(seconds=45), 10) == []


async def test_a_running_job_is_marked_and_goes_on(database: Database, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING)

    assert await cancel(database, job_id) == ["running"]

    row = await row_of(sql, job_id)
    assert (row["status"], row["completed_at"]) == ("running", None)
    assert row["lease_expires_at"] is not None
    assert row["cancel_requested_at"] is not None


async def test_asking_twice_keeps_the_first_time(database: Database, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING, cancel_requested_at=timedelta(hours=-1))
    before = await row_of(sql, job_id)

    assert await cancel(database, job_id) == ["running"]
    assert await row_of(sql, job_id) == before


async def test_a_running_row_of_other_software_is_cancelled_at_once(database: Database, sql: SQL) -> None:
    """It has no lease, so none of our workers can be told."""
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=None)

    assert await cancel(database, job_id) == ["cancelled"]
    assert (await row_of(sql, job_id))["completed_at"] is not None


async def test_a_pending_row_of_other_software_is_cancelled_though_it_has_a_lease(
    database: Database, sql: SQL
) -> None:
    """Only what runs has somebody to be told."""
    job_id = await make_job(sql, lease_expires_at=timedelta(hours=1))

    assert await cancel(database, job_id) == ["cancelled"]
    assert (await row_of(sql, job_id))["completed_at"] is not None


async def test_one_job_is_cancelled_and_no_other(database: Database, sql: SQL) -> None:
    job_id, other = await make_job(sql), await make_job(sql)
    before = await row_of(sql, other)

    await cancel(database, job_id)

    assert await row_of(sql, other) == before


@pytest.mark.parametrize("status", ENDED)
async def test_an_ended_job_is_not_cancelled(database: Database, sql: SQL, status: JobStatus) -> None:
    """I10."""
    job_id = await make_job(sql, status)
    before = await row_of(sql, job_id)

    assert await cancel(database, job_id) == []
    assert await row_of(sql, job_id) == before


async def test_a_claim_and_a_cancel_at_the_same_time_agree_on_who_was_first(
    settings: DatabaseSettings, sql: SQL
) -> None:
    """I12: either the job never starts, or its worker has it and is asked to stop."""
    ids = [await make_job(sql) for _ in range(100)]
    database = Database(settings)
    store = Store(database)

    answers = await asyncio.gather(
        *(cancel(database, job_id) for job_id in ids[50:]),
        *(store.claim("default", ["work"], "w", timedelta(seconds=45), 10) for _ in range(10)),
        *(cancel(database, job_id) for job_id in ids[:50]),
    )
    await database.close()

    rows = {row["id"]: row for row in await sql.fetch("SELECT * FROM control_plane.jobs")}
    assert len(answers) == 110
    for row in rows.values():
        assert row["status"] in {"cancelled", "running"}
        assert (row["lease_epoch"] == 0) is (row["status"] == "cancelled")
        assert row["cancel_requested_at"] is not None


async def test_progress_is_kept_with_a_job_that_is_still_ours(store: Store, sql: SQL) -> None:
    ours, lost, ended = (
        await make_job(sql, JobStatus.RUNNING),
        await make_job(sql, JobStatus.RUNNING),
        await make_job(sql, JobStatus.RUNNING),
    )
    claims = [await claim_of(sql, job_id) for job_id in (ours, lost, ended)]
    await sql.execute("UPDATE control_plane.jobs SET lease_epoch = 2 WHERE id = $1", lost)
    await sql.execute("UPDATE control_plane.jobs SET status = 'completed' WHERE id = $1", ended)

    await store.progress([(claim, '{"fraction": 0.5}') for claim in claims])

    assert json.loads((await row_of(sql, ours))["progress"]) == {"fraction": 0.5}
    assert (await row_of(sql, lost))["progress"] is None
    assert (await row_of(sql, ended))["progress"] is None


async def test_progress_does_not_wait_for_a_locked_row(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING)
    claim = await claim_of(sql, job_id)

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", job_id)
        await asyncio.wait_for(store.progress([(claim, "{}")]), 5)

    assert (await row_of(sql, job_id))["progress"] is None
