"""The fence over the lives of an id (I5): where one comes back, no claim of its earlier life changes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest

from jobplane import DatabaseSettings, JobQueue, NewJob
from jobplane.failure import ErrorReport
from jobplane.job import Claim
from jobplane.outcome import Completed, Failed, Snoozed
from jobplane.store.migrator import Migrator
from jobplane.store.store import Store
from tests.factories import SQL, make_job, row_of
from tests.faults.mischief import FORGET

LEASE = timedelta(seconds=60)
Gone: TypeAlias = Callable[[Store, SQL], Awaitable[None]]
Back: TypeAlias = Callable[[JobQueue, SQL, UUID], Awaitable[None]]


async def _pruned(store: Store, sql: SQL) -> None:
    assert await store.prune(FORGET) == 1


async def _deleted(store: Store, sql: SQL) -> None:
    await sql.execute("DELETE FROM control_plane.jobs")


async def _truncated(store: Store, sql: SQL) -> None:
    await sql.execute("TRUNCATE control_plane.jobs CASCADE")


async def _emptied_with_the_epochs(store: Store, sql: SQL) -> None:
    """A row that is missing there counts as none; the delete writes it again."""
    await sql.execute("TRUNCATE control_plane.epochs; DELETE FROM control_plane.jobs")


async def _wanted_again(queue: JobQueue, sql: SQL, job_id: UUID) -> None:
    made = await queue.enqueue_new(NewJob(id=job_id, type="work", payload="{}"))
    assert not made.existing


async def _copied_again(queue: JobQueue, sql: SQL, job_id: UUID) -> None:
    assert await queue.enqueue_many([NewJob(id=job_id, type="work", payload="{}")]) == 1


async def _inserted_again(queue: JobQueue, sql: SQL, job_id: UUID) -> None:
    await sql.execute("INSERT INTO control_plane.jobs (id, type) VALUES ($1, 'work')", job_id)


async def claim(store: Store, worker: str = "w", limit: int = 10) -> list[Claim]:
    """Claims of whatever is due."""
    return await store.claim("default", ["work"], worker, LEASE, limit)


@pytest.mark.parametrize("back", [_wanted_again, _copied_again, _inserted_again])
@pytest.mark.parametrize("gone", [_pruned, _deleted, _truncated, _emptied_with_the_epochs])
async def test_no_outcome_of_an_earlier_life_ends_the_claim_of_a_later_one(
    queue: JobQueue, store: Store, sql: SQL, gone: Gone, back: Back
) -> None:
    """I5: a worker that was cut off reports long after its job was ended by another, deleted, and made anew."""
    job_id = uuid4()
    await back(queue, sql, job_id)
    (old,) = await claim(store, "cut-off")
    await store.finish([(old, Snoozed(timedelta(0)))])
    (second,) = await claim(store, "another")
    await store.complete([second])
    await gone(store, sql)
    await back(queue, sql, job_id)
    (new,) = await claim(store, "heir")
    before = dict(await row_of(sql, job_id))

    for stale in (old, second):
        assert await store.complete([stale]) == set()
        assert await store.finish([(stale, Completed('"stale"'))]) == set()
        assert await store.finish([(stale, Failed(ErrorReport("E", "stale", ())))]) == set()
        assert [report.ours for report in await store.renew([stale], LEASE)] == [False]
        await store.progress([(stale, '"stale"')])

    assert dict(await row_of(sql, job_id)) == before
    assert new.epoch > second.epoch > old.epoch
    assert await store.complete([new]) == {job_id}


@pytest.mark.parametrize("way", ["plain", "onward", "limited"])
async def test_every_kind_of_claim_counts_on_from_what_was_deleted(store: Store, sql: SQL, way: str) -> None:
    await make_job(sql, lease_epoch=41)
    await sql.execute("DELETE FROM control_plane.jobs")
    fresh = await make_job(sql, type="work", queue="default")
    claimed = await make_job(sql, type="work", queue="default", lease_epoch=3, attempts=1)

    if way == "limited":
        await sql.execute("INSERT INTO control_plane.queues (name, max_running) VALUES ('default', 5)")
        claims = await store.limited.claim("default", ["work"], "w", LEASE, 10)
    elif way == "onward":
        begin = await sql.fetchval("SELECT now() - interval '1 year'")
        claims = await store.claim("default", ["work"], "w", LEASE, 10, beyond=[(0, (begin, UUID(int=0)))])
    else:
        claims = await claim(store)

    assert claims is not None
    assert {one.id: one.epoch for one in claims} == {fresh: 42, claimed: 4}


async def test_epochs_begin_with_1_and_go_up_one_by_one_within_a_life(
    queue: JobQueue, store: Store, sql: SQL
) -> None:
    await queue.enqueue("work")
    epochs = []
    for _ in range(3):
        (held,) = await claim(store)
        epochs.append(held.epoch)
        await store.finish([(held, Snoozed(timedelta(0)))])

    assert epochs == [1, 2, 3]


async def test_first_claims_of_one_batch_have_one_epoch(queue: JobQueue, store: Store, sql: SQL) -> None:
    """So that they are completed by the cheaper statement."""
    await make_job(sql, lease_epoch=7)
    await sql.execute("DELETE FROM control_plane.jobs")
    for _ in range(20):
        await queue.enqueue("work")

    assert {held.epoch for held in await claim(store, limit=50)} == {8}


async def test_what_is_kept_only_grows(sql: SQL, database_url: str) -> None:
    """Two deletes at once, the higher one first; a delete that is rolled back; one of no job."""
    kept = "SELECT spent FROM control_plane.epochs"
    high, low, undone = [await make_job(sql, lease_epoch=epoch) for epoch in (9, 5, 30)]
    other = await asyncpg.connect(database_url)
    delete = "DELETE FROM control_plane.jobs WHERE id = $1"
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(delete, high)
    waiting = asyncio.create_task(other.execute(delete, low))
    await transaction.commit()
    await waiting
    assert await sql.fetchval(kept) == 9

    transaction = sql.transaction()
    await transaction.start()
    await sql.execute(delete, undone)
    await transaction.rollback()
    await sql.execute(delete, uuid4())
    await other.close()

    assert await sql.fetchval(kept) == 9


async def test_nobody_may_hang_the_trigger_on_a_table_of_their_own(sql: SQL) -> None:
    """With rows of their own they could use up all epochs."""
    assert not await sql.fetchval(
        "SELECT has_function_privilege('public', 'control_plane.keep_epochs()', 'EXECUTE')"
    )


@pytest.mark.parametrize("used", [False, True])
async def test_where_workers_have_run_before_the_migration_epochs_begin_beyond_all_that_there_were(
    settings: DatabaseSettings, queue: JobQueue, store: Store, sql: SQL, *, used: bool
) -> None:
    """Jobs that were deleted before it left no trace of their epochs."""
    await Migrator(settings).down(14)
    if used:
        await sql.execute("UPDATE control_plane.duties SET last_run_at = now()")

    await Migrator(settings).up()
    await queue.enqueue("work")
    (first,) = await claim(store)

    assert first.epoch > 1_700_000_000 if used else first.epoch == 1


async def test_the_first_attempt_of_a_job_looks_up_no_crashes_and_later_ones_do(
    store: Store, sql: SQL
) -> None:
    """Its epoch no longer tells whether it was claimed before."""
    await make_job(sql, lease_epoch=7)
    await sql.execute("DELETE FROM control_plane.jobs")
    job_id = await make_job(sql)
    crashes = []
    for _ in range(3):
        (held,) = await claim(store)
        crashes.append(held.crashes)
        await sql.execute("UPDATE control_plane.jobs SET lease_expires_at = now() - interval '1 s'")
        assert await store.rescue(crash_limit=10)
        await sql.execute("UPDATE control_plane.jobs SET max_attempts = 9 WHERE id = $1", job_id)

    assert crashes == [0, 1, 2]


async def test_roles_that_may_claim_before_the_migration_may_claim_after_it(
    settings: DatabaseSettings, sql: SQL
) -> None:
    """Migrate, then deploy: without applying the roles in between."""
    role = f"claimer_{uuid4().hex[:12]}"
    await Migrator(settings).down(14)
    await sql.execute(f"CREATE ROLE {role}; GRANT UPDATE (lease_epoch) ON control_plane.jobs TO {role}")

    await Migrator(settings).up()

    allowed = "SELECT has_table_privilege($1, 'control_plane.epochs', $2)"
    assert await sql.fetchval(allowed, role, "SELECT")
    assert not await sql.fetchval(allowed, role, "UPDATE, INSERT, DELETE")
    await sql.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
