"""job/rescue: jobs of workers that stopped renewing are taken back, and only those."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import DatabaseSettings, JobStatus
from jobplane.failure import ErrorReport
from jobplane.outcome import Completed, Failed
from jobplane.store.database import Database
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from tests.factories import SQL, attempts_of, claim_of, make_job, row_of

EXPIRED = timedelta(seconds=-1)
LEASE = timedelta(seconds=45)


async def test_a_job_with_an_expired_lease_goes_back_to_pending(store: Store, sql: SQL) -> None:
    """I7. The attempt stays counted (I6) and the epoch as it was (I5)."""
    job_id = await make_job(sql, JobStatus.RUNNING, queue="q", lease_expires_at=EXPIRED)

    assert await store.rescue() == [(job_id, "q")]

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"], row["lease_epoch"]) == ("pending", 1, 1)
    assert (row["lease_expires_at"], row["completed_at"]) == (None, None)
    assert row["last_error"] == "lease lost: worker worker-1 stopped renewing it"


async def test_the_lost_attempt_is_recorded_as_crashed(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING, attempts=2, lease_epoch=4, lease_expires_at=EXPIRED)

    await store.rescue()

    (attempt,) = await attempts_of(sql, job_id)
    assert (attempt["epoch"], attempt["attempt"], attempt["outcome"]) == (4, 2, "crashed")
    assert (attempt["error_type"], attempt["worker_id"]) == ("LeaseLost", "worker-1")


async def test_a_rescued_job_is_claimed_under_the_next_epoch_and_its_old_holder_refused(
    store: Store, sql: SQL
) -> None:
    """I5."""
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)
    old = await claim_of(sql, job_id)

    await store.rescue()
    assert await store.complete([old]) == set()
    (new,) = await store.claim("default", ["work"], "worker-2", LEASE, 1)

    assert (new.epoch, new.attempt) == (2, 2)
    assert await store.complete([old]) == set()
    assert await store.finish([(old, Completed("1"))]) == set()
    assert await store.complete([new]) == {job_id}


async def test_a_lease_that_holds_is_never_taken(store: Store, sql: SQL) -> None:
    """I8."""
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(seconds=1))
    before = await row_of(sql, job_id)

    assert await store.rescue() == []
    assert await row_of(sql, job_id) == before


async def test_a_heartbeat_between_looking_and_taking_wins(store: Store, sql: SQL) -> None:
    """I8: the update itself re-checks; while the heartbeat's transaction is open, the row is passed over."""
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)

    async with sql.transaction():
        await sql.execute("UPDATE control_plane.jobs SET lease_expires_at = now() + interval '1 minute'")
        assert await asyncio.wait_for(store.rescue(), 5) == []

    assert await store.rescue() == []
    assert (await row_of(sql, job_id))["status"] == "running"


@pytest.mark.parametrize("max_attempts", [1, 3])
async def test_a_job_without_attempts_left_fails_and_says_why(
    store: Store, sql: SQL, max_attempts: int
) -> None:
    """I6: max_attempts=1 means at most once, ending in failed, never silently."""
    job_id = await make_job(
        sql, JobStatus.RUNNING, attempts=max_attempts, max_attempts=max_attempts, lease_expires_at=EXPIRED
    )

    await store.rescue()

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"]) == ("failed", max_attempts)
    assert row["last_error"].startswith("lease lost")
    assert row["completed_at"] is not None
    assert await store.claim("default", ["work"], "w", LEASE, 1) == []


async def test_a_job_that_was_to_be_cancelled_is_cancelled(store: Store, sql: SQL) -> None:
    """I12: also when its worker died before it heard of it."""
    job_id = await make_job(
        sql, JobStatus.RUNNING, cancel_requested_at=timedelta(seconds=-9), lease_expires_at=EXPIRED
    )

    await store.rescue()

    row = await row_of(sql, job_id)
    assert row["status"] == "cancelled"
    assert row["completed_at"] is not None


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.RUNNING}))
async def test_a_job_that_is_not_running_is_left_alone(store: Store, sql: SQL, status: JobStatus) -> None:
    """I10, I11."""
    job_id = await make_job(sql, status, lease_expires_at=EXPIRED)
    before = await row_of(sql, job_id)

    assert await store.rescue() == []
    assert await row_of(sql, job_id) == before


async def test_a_running_row_of_other_software_without_a_lease_is_left_alone(store: Store, sql: SQL) -> None:
    await make_job(sql, JobStatus.RUNNING, lease_expires_at=None)

    assert await store.rescue() == []


async def test_a_row_that_refers_to_a_job_does_not_hide_it_from_the_sweep(store: Store, sql: SQL) -> None:
    """FOR NO KEY UPDATE, as in the claim."""
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)

    async with sql.transaction():
        await sql.execute(
            "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 9, 1, 'failed')",
            job_id,
        )
        assert await store.rescue() == [(job_id, "default")]


async def test_a_lease_that_nobody_signed_is_taken_back_too_and_says_so(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING, worker_id=None, lease_expires_at=EXPIRED)

    await store.rescue()

    assert (await row_of(sql, job_id))["last_error"] == "lease lost: worker ? stopped renewing it"


async def test_jobs_of_types_that_nobody_here_knows_are_rescued_not_discarded(store: Store, sql: SQL) -> None:
    """I18: the sweeper need not know a type to give its job back."""
    job_id = await make_job(sql, JobStatus.RUNNING, type="unheard_of", lease_expires_at=EXPIRED)

    await store.rescue()

    assert (await row_of(sql, job_id))["status"] == "pending"


async def test_a_sweep_takes_no_more_than_its_limit(store: Store, sql: SQL) -> None:
    for _ in range(5):
        await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)

    assert len(await store.rescue(limit=2)) == 2
    assert len(await store.rescue(limit=2)) == 2
    assert len(await store.rescue(limit=2)) == 1
    assert await store.rescue(limit=2) == []


async def test_healthy_jobs_do_not_use_up_the_limit_of_a_sweep(store: Store, sql: SQL) -> None:
    for _ in range(5):
        await make_job(sql, JobStatus.RUNNING)
    expired = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)

    assert await store.rescue(limit=1) == [(expired, "default")]


async def test_sweepers_at_the_same_time_rescue_each_job_once(settings: DatabaseSettings, sql: SQL) -> None:
    await sql.execute(
        "INSERT INTO control_plane.jobs (type, status, attempts, lease_epoch, lease_expires_at, worker_id) "
        "SELECT 'work', 'running', 1, 1, now() - interval '1 second', 'dead' FROM generate_series(1, 400)"
    )
    database = Database(settings, setup=WORKER_SESSION)
    store = Store(database)

    swept = await asyncio.gather(*(store.rescue(limit=100) for _ in range(12)))
    rest = await store.rescue(limit=400)
    await database.close()

    ids = [job_id for sweep in (*swept, rest) for job_id, _ in sweep]
    assert len(ids) == len(set(ids)) == 400
    assert await sql.fetchval("SELECT count(*) FROM control_plane.job_attempts") == 400


async def test_only_the_databases_clock_decides_that_a_lease_has_expired(
    settings: DatabaseSettings, sql: SQL
) -> None:
    """I21."""
    await sql.execute(
        "CREATE FUNCTION public.later() RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT now() + interval '1 hour' $$"
    )
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(minutes=59))
    database = Database(settings, clock="public.later()")

    rescued = await Store(database).rescue()
    await database.close()

    assert rescued == [(job_id, "default")]


async def test_a_finish_and_a_sweep_at_the_same_time_end_in_one_of_the_two(
    settings: DatabaseSettings, sql: SQL
) -> None:
    """I5, I11: each job is either finished by its holder or rescued, and the holder knows which."""
    ids = [await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED) for _ in range(60)]
    claims = [await claim_of(sql, job_id) for job_id in ids]
    database = Database(settings, setup=WORKER_SESSION)
    store = Store(database)
    failed = Failed(ErrorReport("E", "m"))

    sweep = asyncio.create_task(store.rescue(limit=100))
    finished = await asyncio.gather(*(store.finish([(claim, failed)]) for claim in claims))
    taken = {job_id for job_id, _ in await sweep}
    await database.close()

    ours = set[UUID]().union(*finished)
    assert ours | taken == set(ids)
    assert not ours & taken
    for status, whose in (("failed", ours), ("pending", taken)):
        rows = await sql.fetch("SELECT id FROM control_plane.jobs WHERE status = $1", status)
        assert {row["id"] for row in rows} == whose


async def _crash(sql: SQL, job_id: UUID, epoch: int, ago: str = "1 minute", outcome: str = "crashed") -> None:
    """An earlier claim of this job ended with its worker, unless another outcome is given."""
    await sql.execute(
        "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome, worker_id, ended_at) "
        "VALUES ($1, $2::integer, $2::integer, $4, 'earlier', now() - $3::text::interval)",
        job_id,
        epoch,
        ago,
        outcome,
    )


async def _lost(sql: SQL, *, crashes: int, max_attempts: int = 3, alone: bool = False) -> UUID:
    """A running job whose lease has expired, and each of whose earlier claims ended with its worker."""
    job_id = await make_job(
        sql,
        JobStatus.RUNNING,
        attempts=crashes + 1,
        lease_epoch=crashes + 1,
        max_attempts=max_attempts,
        lease_expires_at=EXPIRED,
        isolated_epoch=crashes + 1 if alone else None,
    )
    for epoch in range(1, crashes + 1):
        await _crash(sql, job_id, epoch)
    return job_id


async def test_a_job_that_died_alone_as_often_as_is_borne_fails_with_attempts_left(
    store: Store, sql: SQL
) -> None:
    """F19: a poison with many attempts does not take a worker with it for each of them."""
    job_id = await _lost(sql, crashes=2, max_attempts=20, alone=True)

    await store.rescue(crash_limit=3)

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"]) == ("failed", 3)
    assert row["last_error"] == (
        "lease lost: worker worker-1 stopped renewing it while this job ran alone (crash 3 of it within a day)"
    )


async def test_a_job_that_never_ran_alone_is_not_blamed_however_many_workers_died_with_it(
    store: Store, sql: SQL
) -> None:
    """F19: nobody can say which of the jobs in hand it was."""
    job_id = await _lost(sql, crashes=5, max_attempts=20)

    await store.rescue(crash_limit=3)

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"]) == ("pending", 6), "the attempt counts all the same"


@pytest.mark.parametrize(("ago", "outcome"), [("25 hours", "crashed"), ("1 minute", "failed")])
async def test_crashes_of_another_day_and_failures_in_a_living_worker_do_not_count(
    store: Store, sql: SQL, ago: str, outcome: str
) -> None:
    job_id = await make_job(
        sql,
        JobStatus.RUNNING,
        attempts=3,
        lease_epoch=3,
        max_attempts=20,
        lease_expires_at=EXPIRED,
        isolated_epoch=3,
    )
    for epoch in (1, 2):
        await _crash(sql, job_id, epoch, ago=ago, outcome=outcome)

    await store.rescue(crash_limit=3)

    assert (await row_of(sql, job_id))["status"] == "pending"


@pytest.mark.parametrize("companions", [0, 2])
@pytest.mark.parametrize("max_attempts", [1, 2, 3])
async def test_a_last_attempt_that_ends_with_its_worker_fails_the_job_in_whatever_company(
    store: Store, sql: SQL, max_attempts: int, companions: int
) -> None:
    """I6: "at most n calls". It may have begun, and no crash gives that back."""
    job_id = await make_job(
        sql,
        JobStatus.RUNNING,
        attempts=max_attempts,
        lease_epoch=max_attempts,
        max_attempts=max_attempts,
        lease_expires_at=EXPIRED,
    )
    for _ in range(companions):
        await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)

    await store.rescue()

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"]) == ("failed", max_attempts)
    assert row["last_error"] == (
        f"lease lost: worker worker-1 stopped renewing it during attempt {max_attempts} of {max_attempts}, the last one"
    )


async def test_a_suspect_that_ran_its_last_attempt_alone_fails(store: Store, sql: SQL) -> None:
    """F19, I6."""
    job_id = await _lost(sql, crashes=1, max_attempts=2, alone=True)

    await store.rescue()

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"]) == ("failed", 2)
    assert row["last_error"].endswith("during attempt 2 of 2, the last one")


async def test_a_suspect_that_still_waited_to_run_alone_keeps_its_last_attempt(
    store: Store, sql: SQL
) -> None:
    """It never began: without its worker's note (job/isolate) it cannot have."""
    job_id = await _lost(sql, crashes=1, max_attempts=2)

    await store.rescue()

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"], row["lease_epoch"]) == ("pending", 1, 2)
    assert (await attempts_of(sql, job_id))[-1]["outcome"] == "crashed"


async def test_the_note_of_an_earlier_claim_says_nothing_of_this_one(store: Store, sql: SQL) -> None:
    job_id = await _lost(sql, crashes=2, max_attempts=3)
    await sql.execute("UPDATE control_plane.jobs SET isolated_epoch = 2 WHERE id = $1", job_id)

    await store.rescue()

    assert (await row_of(sql, job_id))["status"] == "pending"


async def test_only_the_holder_of_a_claim_notes_that_its_job_begins_alone(store: Store, sql: SQL) -> None:
    """I5."""
    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED)
    old = await claim_of(sql, job_id)
    await store.rescue()
    (new,) = await store.claim("default", ["work"], "worker-2", LEASE, 1)

    assert [await store.isolate(claim) for claim in (old, new, new)] == [False, True, True]
    assert (await row_of(sql, job_id))["isolated_epoch"] == new.epoch


async def test_a_claim_says_how_often_the_job_died_lately(store: Store, sql: SQL) -> None:
    fresh = await make_job(sql)
    suspect = await make_job(sql, attempts=3, lease_epoch=3, max_attempts=9)
    for epoch, ago in ((1, "25 hours"), (2, "1 hour"), (3, "1 minute")):
        await _crash(sql, suspect, epoch, ago=ago)

    claims = await store.claim("default", ["work"], "w", LEASE, 10)

    assert {claim.id: claim.crashes for claim in claims} == {fresh: 0, suspect: 2}
