"""job/claim: which jobs start, in which order, and never more than asked for."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import pytest

from jobplane import DatabaseSettings, JobStatus
from jobplane.job import Claim
from jobplane.sql import load
from jobplane.store.database import Database
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from tests.factories import SQL, claim_of, make_job, row_of

LEASE = timedelta(seconds=45)


async def claim(
    store: Store, limit: int = 10, queue: str = "default", types: tuple[str, ...] = ("work",)
) -> list[Claim]:
    """Claim as worker w."""
    return await store.claim(queue, types, "w", LEASE, limit)


async def test_a_due_job_becomes_running_and_its_attempt_counts_from_the_claim(
    store: Store, sql: SQL
) -> None:
    """I6: counted at claim, so that a job that kills its worker runs out of attempts."""
    job_id = await make_job(sql)

    (claimed,) = await claim(store)

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"], row["lease_epoch"], row["worker_id"]) == ("running", 1, 1, "w")
    assert row["lease_expires_at"] == row["started_at"] + LEASE
    assert (claimed.id, claimed.attempt, claimed.epoch) == (job_id, 1, 1)


async def test_a_claim_carries_the_row_as_it_is_after_the_claim(store: Store, sql: SQL) -> None:
    job_id = await make_job(
        sql,
        payload={"a": [1, None]},
        max_attempts=7,
        attempts=2,
        lease_epoch=5,
        priority=4,
        unique_key="u",
        tags=["x", "y"],
        progress={"fraction": 0.5},
        retry_policy={"kind": "fixed", "seconds": [1]},
    )

    (claimed,) = await claim(store)

    expected = await claim_of(sql, job_id)
    expected.lease_ends = claimed.lease_ends
    assert claimed == expected
    assert (claimed.attempt, claimed.epoch, claimed.tags) == (3, 6, ["x", "y"])


async def test_the_epoch_rises_with_every_claim_and_is_never_reset(store: Store, sql: SQL) -> None:
    """I5: also when the attempts are given back."""
    job_id = await make_job(sql)

    for epoch in (1, 2, 3):
        (claimed,) = await claim(store)
        assert claimed.epoch == epoch
        await sql.execute(
            "UPDATE control_plane.jobs SET status = 'pending', attempts = 0 WHERE id = $1", job_id
        )


async def test_claims_follow_priority_then_due_time_then_id(store: Store, sql: SQL) -> None:
    """I14."""
    wanted = []
    for priority in (1000, 5, 0):
        for due in (-300, -200, -100):
            ids = sorted(
                [
                    await make_job(sql, priority=priority, scheduled_at=timedelta(seconds=due))
                    for _ in range(2)
                ]
            )
            # now() differs between the two inserts: give both the same time.
            await sql.execute(
                "UPDATE control_plane.jobs SET scheduled_at = (SELECT min(scheduled_at) FROM control_plane.jobs "
                "WHERE id = ANY($1)) WHERE id = ANY($1)",
                ids,
            )
            wanted += ids
    shuffled = random.sample(wanted, len(wanted))
    for job_id in shuffled:  # rewrite the rows, so that their places in the table say nothing
        await sql.execute("UPDATE control_plane.jobs SET last_error = NULL WHERE id = $1", job_id)

    first = await claim(store, limit=7)
    second = await claim(store, limit=100)

    assert [claimed.id for claimed in first + second] == wanted


async def test_a_job_is_not_claimed_before_its_time(store: Store, sql: SQL) -> None:
    """I13."""
    job_id = await make_job(sql, scheduled_at=timedelta(seconds=60))

    assert await claim(store) == []
    await sql.execute("UPDATE control_plane.jobs SET scheduled_at = now() WHERE id = $1", job_id)
    assert [claimed.id for claimed in await claim(store)] == [job_id]


async def test_only_the_databases_clock_decides_what_is_due(settings: DatabaseSettings, sql: SQL) -> None:
    """I21: the clock of the statements is replaced; this machine's stays as it is."""
    await sql.execute(
        "CREATE FUNCTION public.later() RETURNS timestamptz STABLE LANGUAGE sql AS $$ SELECT now() + interval '1 hour' $$"
    )
    job_id = await make_job(sql, scheduled_at=timedelta(minutes=59))
    await make_job(sql, scheduled_at=timedelta(minutes=61))
    database = Database(settings, setup=WORKER_SESSION, clock="public.later()")

    claimed = await claim(Store(database))
    await database.close()

    assert [one.id for one in claimed] == [job_id]


async def test_unknown_types_are_left_untouched(store: Store, sql: SQL) -> None:
    """I18: neither claimed, failed nor counted."""
    unknown = await make_job(sql, type="other", priority=1000)
    known = await make_job(sql)
    before = await row_of(sql, unknown)

    claimed = await claim(store)

    assert [one.id for one in claimed] == [known]
    assert await row_of(sql, unknown) == before
    assert await claim(store, types=()) == []


async def test_jobs_of_other_queues_are_left_untouched(store: Store, sql: SQL) -> None:
    other = await make_job(sql, queue="mail")

    assert await claim(store) == []
    assert [one.id for one in await claim(store, queue="mail")] == [other]


@pytest.mark.parametrize("status", sorted(set(JobStatus) - {JobStatus.PENDING}))
async def test_only_pending_jobs_are_claimed(store: Store, sql: SQL, status: JobStatus) -> None:
    job_id = await make_job(sql, status)
    before = await row_of(sql, job_id)

    assert await claim(store) == []
    assert await row_of(sql, job_id) == before


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(
    store: Store, database: Database, sql: SQL
) -> None:
    job_id = await make_job(sql)
    other = await make_job(sql, queue="mail")

    await database.fetch(database.statement("queue/pause"), {"name": "default"})
    assert await claim(store) == []
    assert [one.id for one in await claim(store, queue="mail")] == [other]
    await database.fetch(database.statement("queue/resume"), {"name": "default"})
    assert [one.id for one in await claim(store)] == [job_id]


async def test_a_queue_with_a_limit_gives_nothing_here(store: Store, database: Database, sql: SQL) -> None:
    """I16: a worker that does not know of the limit yet must not claim past it; job/claim_limited counts what runs."""
    job_id = await make_job(sql)

    await database.fetch(database.statement("queue/limit"), {"name": "default", "max_running": 5})
    assert await claim(store) == []
    await database.fetch(database.statement("queue/limit"), {"name": "default", "max_running": None})
    assert [one.id for one in await claim(store)] == [job_id]


async def test_never_more_than_the_limit_and_no_job_twice_under_eight_claimers(
    settings: DatabaseSettings, sql: SQL
) -> None:
    """I5. The shape `IN (SELECT .. LIMIT .. SKIP LOCKED)` has updated more rows than its limit (BUG #15715)."""
    await sql.execute(
        "INSERT INTO control_plane.jobs (type, priority) SELECT 'work', n % 3 FROM generate_series(1, 1500) AS n"
    )
    database = Database(settings, setup=WORKER_SESSION, size=8)
    store = Store(database)

    async def claim_all(limit: int) -> list[Claim]:
        mine: list[Claim] = []
        while batch := await claim(store, limit):
            assert len(batch) <= limit
            mine += batch
        return mine

    claimed = await asyncio.gather(*(claim_all(limit) for limit in (1, 2, 3, 5, 7, 10, 20, 30)))
    await database.close()

    ids = [one.id for mine in claimed for one in mine]
    assert len(ids) == len(set(ids)) == 1500
    assert (
        await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE (lease_epoch, attempts) = (1, 1)")
        == 1500
    )


async def test_a_locked_job_is_passed_over_without_waiting(store: Store, sql: SQL) -> None:
    first, second = await make_job(sql), await make_job(sql)

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", first)
        claimed = await asyncio.wait_for(claim(store), 5)

    assert [one.id for one in claimed] == [second]


async def test_a_row_that_refers_to_a_job_does_not_hide_it_from_the_claim(store: Store, sql: SQL) -> None:
    """FOR NO KEY UPDATE: an uncommitted insert with a foreign key holds a key-share lock on the job."""
    job_id = await make_job(sql)

    async with sql.transaction():
        await sql.execute(
            "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 9, 1, 'failed')",
            job_id,
        )
        claimed = await claim(store)

    assert [one.id for one in claimed] == [job_id]


async def test_a_claim_under_way_does_not_hold_up_a_row_that_refers_to_the_job(
    database: Database, database_url: str, sql: SQL
) -> None:
    job_id = await make_job(sql)
    statement = database.statement("job/claim")
    args = {"lease": 45.0, "worker_id": "w", "queue": "default", "types": ["work"], "limit": 1}
    claimer = await asyncpg.connect(database_url)

    async with claimer.transaction():
        assert (
            len(await claimer.fetch(statement.numbered, *(args[name] for name in statement.parameters))) == 1
        )
        await sql.execute("SET lock_timeout = '1s'")
        await sql.execute(
            "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 9, 1, 'failed')",
            job_id,
        )

    await claimer.close()
    assert (
        await sql.fetchval("SELECT count(*) FROM control_plane.job_attempts WHERE job_id = $1", job_id) == 1
    )


async def test_a_limit_of_nothing_claims_nothing(store: Store, sql: SQL) -> None:
    await make_job(sql)

    assert await claim(store, limit=0) == []


async def test_a_claim_beyond_a_job_takes_what_comes_after_it_in_each_priority_named(
    store: Store, sql: SQL
) -> None:
    due = datetime.now(UTC) - timedelta(minutes=5)
    made = {
        (priority, number): await make_job(
            sql, priority=priority, scheduled_at=due + timedelta(seconds=number)
        )
        for priority in (7, 3, 0)
        for number in range(4)
    }
    mark = (due + timedelta(seconds=1), UUID(int=made[7, 1].int))
    low = (due + timedelta(seconds=2), UUID(int=made[0, 2].int))

    claimed = await store.claim("default", ["work"], "w", LEASE, 10, beyond=[(7, mark), (0, low)])

    assert [job.id for job in claimed] == [made[7, 2], made[7, 3], made[0, 3]]
    rest = await claim(store)
    assert [job.id for job in rest] == [
        *(made[7, number] for number in (0, 1)),
        *(made[3, number] for number in range(4)),
        *(made[0, number] for number in (0, 1, 2)),
    ]


async def test_a_claim_beyond_a_job_keeps_to_its_limit_and_takes_high_priorities_first(
    store: Store, sql: SQL
) -> None:
    due = datetime.now(UTC) - timedelta(minutes=5)
    high = [await make_job(sql, priority=7, scheduled_at=due + timedelta(seconds=n)) for n in range(3)]
    low = [await make_job(sql, priority=0, scheduled_at=due + timedelta(seconds=n)) for n in range(3)]
    start = (due - timedelta(seconds=1), UUID(int=0))

    claimed = await store.claim("default", ["work"], "w", LEASE, 4, beyond=[(7, start), (0, start)])

    assert [job.id for job in claimed] == [*high, low[0]]
    locked = await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'pending'")
    assert locked == 2


def test_both_claims_do_the_same_to_what_they_take() -> None:
    """They differ in what they look at, and in nothing else."""
    whole, onward = load("job/claim").numbered, load("job/claim_onward").numbered
    starts = whole.index("UPDATE"), onward.index("UPDATE")

    def outside(text: str, start: int) -> tuple[str, str]:
        # Numbers of parameters differ only where the statements do.
        return text[start : text.index("WHERE job.id")], text[text.rindex("RETURNING") :]

    assert outside(whole, starts[0]) == outside(onward, starts[1])
