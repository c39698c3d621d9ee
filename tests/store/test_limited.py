"""Claims under a queue's limit: exact over any number of claimers, in order, and never in the way of a rescue.

I14 (an ordering key: strict order, one at a time), I16 (never more than n running; reclaim is never refused).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from jobplane import DatabaseSettings, JobStatus
from jobplane.job import Claim
from jobplane.store.database import Database
from jobplane.store.lane import Lane
from jobplane.store.limited import Room
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from tests.factories import SQL, make_job, row_of
from tests.faults.load import AWAY
from tests.support import until

LEASE = timedelta(seconds=45)


async def limit(sql: SQL, most: int | None, queue: str = "default") -> None:
    """Set the limit as the client's statement does."""
    await sql.execute(
        "INSERT INTO control_plane.queues (name, max_running) VALUES ($1, $2) "
        "ON CONFLICT (name) DO UPDATE SET max_running = EXCLUDED.max_running",
        queue,
        most,
    )


async def claim(
    store: Store, most: int = 10, types: tuple[str, ...] = ("work",), queue: str = "default"
) -> list[Claim]:
    """Claim as worker w; nobody else has the lock for long."""
    claims = await store.limited.claim(queue, types, "w", LEASE, most)
    assert claims is not None
    return claims


async def running(sql: SQL, queue: str = "default") -> int:
    """How many rows of the queue run."""
    count: int = await sql.fetchval(
        "SELECT count(*) FROM control_plane.jobs WHERE status = 'running' AND queue = $1", queue
    )
    return count


@pytest.fixture
async def stores(settings: DatabaseSettings) -> AsyncIterator[list[Store]]:
    """Eight claimers, each with a connection of its own."""
    database = Database(settings, setup=WORKER_SESSION)
    lanes = [Lane(database) for _ in range(8)]
    yield [Store(database, lane) for lane in lanes]
    for lane in lanes:
        await lane.close()
    await database.close()


async def test_a_plain_claim_leaves_a_queue_with_a_limit_alone(store: Store, sql: SQL) -> None:
    await make_job(sql)
    await limit(sql, 5)

    assert await store.claim("default", ["work"], "w", LEASE, 10) == []

    await limit(sql, None)
    assert len(await store.claim("default", ["work"], "w", LEASE, 10)) == 1


async def test_a_claim_takes_no_more_than_the_limit_leaves_room_for(store: Store, sql: SQL) -> None:
    for _ in range(6):
        await make_job(sql)
    await make_job(sql, JobStatus.RUNNING)
    await make_job(sql, JobStatus.RUNNING, queue="other")
    await limit(sql, 4)

    first = await claim(store)
    second = await claim(store)

    assert (len(first), second, await running(sql)) == (3, [], 4)
    row = await row_of(sql, first[0].id)
    assert (row["attempts"], row["lease_epoch"], row["worker_id"]) == (1, 1, "w")
    assert row["lease_expires_at"] == row["started_at"] + LEASE


async def test_eight_claimers_at_once_never_exceed_the_limit_and_fill_it(
    stores: list[Store], sql: SQL
) -> None:
    """I16: with the count in the locking statement, two claimers would count the same free slots."""
    for _ in range(60):
        await make_job(sql)
    await limit(sql, 7)
    finished = 0

    while finished < 60:
        rounds = await asyncio.gather(*(claim(store, 5) for store in stores))
        held = [one for claims in rounds for one in claims]
        assert await running(sql) == len(held) == min(7, 60 - finished)
        done = await stores[0].complete(held)
        assert len(done) == len(held)
        finished += len(held)


async def test_lowering_the_limit_touches_no_running_job_and_holds_from_the_next_claim_on(
    store: Store, sql: SQL
) -> None:
    for _ in range(8):
        await make_job(sql)
    await limit(sql, 4)
    held = await claim(store)

    await limit(sql, 2)

    assert await running(sql) == 4
    await store.complete(held[:2])
    assert await claim(store) == []
    await store.complete(held[2:3])
    assert len(await claim(store)) == 1
    assert await running(sql) == 2


async def test_an_ordering_key_hands_out_one_job_at_a_time_in_order(store: Store, sql: SQL) -> None:
    """I14."""
    await limit(sql, 1)
    due = {
        name: await make_job(sql, priority=priority, scheduled_at=timedelta(seconds=seconds))
        for name, priority, seconds in (
            ("third", 0, -9),
            ("first", 5, -1),
            ("fourth", 0, -1),
            ("second", 1, -5),
        )
    }
    order: list[UUID] = []

    for _ in range(4):
        (held,) = await claim(store)
        assert await claim(store) == []
        order.append(UUID(int=held.id.int))
        await store.complete([held])

    assert order == [due[name] for name in ("first", "second", "third", "fourth")]


async def test_under_an_ordering_key_a_job_that_this_worker_does_not_know_is_not_overtaken(
    store: Store, sql: SQL
) -> None:
    """I14 before throughput: with a wider limit the others go on."""
    await make_job(sql, type="new", scheduled_at=timedelta(seconds=-9))
    await make_job(sql)
    await limit(sql, 1)

    assert await claim(store) == []
    (first,) = await claim(store, types=("new", "work"))
    assert first.type == "new"

    await store.complete([first])
    await make_job(sql, type="new", scheduled_at=timedelta(seconds=-9))
    await limit(sql, 2)
    (other,) = await claim(store)
    assert other.type == "work"


async def test_under_an_ordering_key_a_row_that_someone_keeps_locked_is_not_overtaken(
    store: Store, sql: SQL
) -> None:
    """I14. Nobody waits for the lock either: the claim comes back empty."""
    first = await make_job(sql, scheduled_at=timedelta(seconds=-9))
    second = await make_job(sql)
    await limit(sql, 1)

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", first)
        assert await claim(store) == []

    (held,) = await claim(store)
    assert (held.id, (await row_of(sql, second))["status"]) == (first, "pending")


async def test_a_rescue_is_not_refused_by_the_limit_and_frees_the_slot(store: Store, sql: SQL) -> None:
    """I16, seeded bug 11: with the limit reached (and lowered below it) dead jobs still come back."""
    dead = [
        await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(seconds=-1), attempts=1)
        for _ in range(3)
    ]
    await limit(sql, 1)
    assert await claim(store) == []

    rescued = await store.rescue()

    assert {job_id for job_id, _ in rescued} == set(dead)
    (held,) = await claim(store)
    assert held.epoch == 2


async def test_a_rescue_does_not_wait_for_a_claimer_that_holds_the_queues_lock(
    store: Store, sql: SQL, database_url: str
) -> None:
    await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(seconds=-1))
    await limit(sql, 1)
    other = await asyncpg.connect(database_url)

    async with other.transaction():
        await other.execute("SELECT FROM control_plane.queues WHERE name = 'default' FOR NO KEY UPDATE")
        assert len(await store.rescue()) == 1
    await other.close()


async def test_a_paused_queue_with_a_limit_is_not_claimed_from(store: Store, sql: SQL) -> None:
    await make_job(sql)
    await limit(sql, 3)
    await sql.execute("UPDATE control_plane.queues SET paused_at = now()")

    assert await claim(store) == []
    assert await store.limited.room("default", ["work"]) == Room(3, 0, waiting=False)


async def test_room_says_what_a_claim_would_find(store: Store, sql: SQL) -> None:
    assert await store.limited.room("default", ["work"]) is None

    await limit(sql, 3)
    assert await store.limited.room("default", ["work"]) == Room(3, 0, waiting=False)

    await make_job(sql, JobStatus.RUNNING)
    await make_job(sql, scheduled_at=timedelta(hours=1))
    assert await store.limited.room("default", ["work"]) == Room(3, 1, waiting=False)

    await make_job(sql)
    assert await store.limited.room("default", ["work"]) == Room(3, 1, waiting=True)
    assert await store.limited.room("default", ["other"]) == Room(3, 1, waiting=False)


async def test_a_claimer_gives_up_waiting_for_the_lock_without_an_error(
    store: Store, sql: SQL, database_url: str
) -> None:
    await make_job(sql)
    await limit(sql, 3)
    other = await asyncpg.connect(database_url)

    async with other.transaction():
        await other.execute("SELECT FROM control_plane.queues WHERE name = 'default' FOR NO KEY UPDATE")
        assert await store.limited.claim("default", ["work"], "w", LEASE, 1) is None
    await other.close()

    assert len(await claim(store)) == 1


async def test_a_claimer_that_stops_in_the_middle_does_not_keep_the_lock(
    stores: list[Store], sql: SQL
) -> None:
    """A stopped process (SIGSTOP) would else stop its queue for the whole fleet."""
    await make_job(sql)
    await limit(sql, 1)
    sleeper, awake = stores[:2]

    async with asyncio.timeout(10):
        with pytest.raises(AWAY):  # noqa: PT012 - it breaks on the way out
            async with sleeper._over.transaction() as connection:
                await connection.execute("SELECT FROM control_plane.queues FOR NO KEY UPDATE")

                async def another_claims() -> bool:
                    return bool(await awake.limited.claim("default", ["work"], "w", LEASE, 1))

                await until(another_claims)

    assert await sleeper.limited.room("default", ["work"]) == Room(1, 1, waiting=False)


async def test_jobs_that_ran_one_after_the_other_do_not_seem_to_overlap(
    stores: list[Store], sql: SQL
) -> None:
    """The start is the time of the claim, not that of a transaction which first waited for the lock."""
    for _ in range(40):
        await make_job(sql)
    await limit(sql, 1)

    async def work(store: Store) -> None:
        while await sql_pending():
            for held in await claim(store):
                await store.complete([held])

    async def sql_pending() -> int:
        async with lock:
            return int(await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'pending'"))

    lock = asyncio.Lock()
    await asyncio.gather(*(work(store) for store in stores[:4]))

    overlaps = await sql.fetchval(
        "SELECT count(*) FROM control_plane.jobs AS a JOIN control_plane.jobs AS b "
        "ON a.id < b.id AND a.started_at < b.completed_at AND b.started_at < a.completed_at"
    )
    assert overlaps == 0
