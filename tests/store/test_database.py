"""Connections survive what databases go through; what does not pass becomes one of our errors, in time."""

from __future__ import annotations

import asyncio
import gc
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from jobplane import (
    DatabaseError,
    DatabaseSettings,
    SyncJobQueue,
)
from jobplane.errors import StatementError
from jobplane.ids import new_job_id
from jobplane.sql import parse
from jobplane.store.connecting import connect
from jobplane.store.database import Database
from jobplane.store.lane import Lane
from jobplane.store.session import WORKER_SESSION, Session
from tests.factories import SQL, claim_of, make_job
from tests.support import until

ONE = parse("test/one", "SELECT 1 AS one", "control_plane")
BACKENDS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobplane'"
QUICK = timedelta(seconds=0.5)


class Counting(Database):
    """Counts the connections that it tries to make."""

    tries = 0

    async def connect(self) -> asyncpg.Connection[asyncpg.Record]:
        self.tries += 1
        return await super().connect()


@pytest.fixture
async def counting(settings: DatabaseSettings) -> AsyncIterator[Counting]:
    """A database that counts."""
    database = Counting(settings)
    yield database
    await database.close()


async def test_nothing_is_connected_before_the_first_use_and_once_is_enough(
    counting: Counting, sql: SQL
) -> None:
    assert await sql.fetchval(f"SELECT count(*) {BACKENDS}") == 0

    for _ in range(5):
        assert [row["one"] for row in await counting.fetch(ONE, {})] == [1]

    assert counting.tries == 1


async def test_many_first_uses_at_once_share_one_pool_of_the_given_size(
    settings: DatabaseSettings, sql: SQL
) -> None:
    database = Counting(settings, size=3)

    rows = await asyncio.gather(*(database.fetch(ONE, {}) for _ in range(50)))

    assert len(rows) == 50
    assert database.tries == await sql.fetchval(f"SELECT count(*) {BACKENDS}") == 3
    await database.close()


async def test_each_connection_begins_with_the_setup(settings: DatabaseSettings) -> None:
    database = Database(settings, setup=WORKER_SESSION)
    shown = parse(
        "test/shown",
        "SELECT current_setting('enable_seqscan') AS s, current_setting('lock_timeout') AS l",
        "s",
    )

    answers = await asyncio.gather(*(database.fetch(shown, {}) for _ in range(10)))
    await database.close()

    assert {(row["s"], row["l"]) for rows in answers for row in rows} == {("off", "200ms")}


async def test_the_pool_survives_that_all_its_backends_are_terminated(counting: Counting, sql: SQL) -> None:
    await asyncio.gather(*(counting.fetch(ONE, {}) for _ in range(20)))
    before = counting.tries

    killed = await sql.fetch(f"SELECT pg_terminate_backend(pid) {BACKENDS}")
    rows = await asyncio.gather(*(counting.fetch(ONE, {}) for _ in range(20)))

    assert len(killed) == before > 1
    assert [row[0]["one"] for row in rows] == [1] * 20
    assert counting.tries > before


async def test_a_lane_survives_that_its_backend_is_terminated(counting: Counting, sql: SQL) -> None:
    lane = Lane(counting)
    await lane.fetch(ONE, {})
    assert counting.tries == 1

    await sql.fetch(f"SELECT pg_terminate_backend(pid) {BACKENDS}")

    assert [row["one"] for row in await lane.fetch(ONE, {})] == [1]
    await lane.close()
    assert [row["one"] for row in await lane.fetch(ONE, {})] == [1], "closed, it opens again"
    assert counting.tries == 3
    await lane.close()


async def test_the_synchronous_pool_survives_that_all_its_backends_are_terminated(
    settings: DatabaseSettings, sql: SQL
) -> None:
    def use(queue: SyncJobQueue) -> None:
        assert queue.get_job(new_job_id()) is None

    with SyncJobQueue(settings=settings) as queue:
        await asyncio.to_thread(use, queue)
        assert await sql.fetch(f"SELECT pg_terminate_backend(pid) {BACKENDS}")
        await asyncio.to_thread(use, queue)


async def test_a_statement_that_a_terminated_backend_was_running_is_sent_again(
    counting: Counting, sql: SQL
) -> None:
    slow = parse("test/slow", "SELECT pg_sleep(CASE WHEN :tries::int = 1 THEN 60 ELSE 0 END)", "s")

    tries = itertools.count(1)

    async def attempt() -> object:
        return await counting.fetch_once(slow, [next(tries)])

    waiting = asyncio.create_task(counting.patiently("slow", attempt))

    async def killed() -> bool:
        return bool(
            await sql.fetch(f"SELECT pg_terminate_backend(pid) {BACKENDS} AND wait_event = 'PgSleep'")
        )

    await until(killed)
    assert await asyncio.wait_for(waiting, 10)


async def test_a_lock_that_passes_is_waited_for_and_one_that_stays_is_an_error(
    database: Database, sql: SQL
) -> None:
    job_id = await make_job(sql)
    cancel = database.statement("job/cancel")
    transaction = sql.transaction()
    await transaction.start()
    await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", job_id)

    with pytest.raises(StatementError, match="SQLSTATE 55P03"):
        await database.fetch(cancel, {"id": str(job_id)})
    cancelling = asyncio.create_task(database.fetch(cancel, {"id": str(job_id)}))

    async def waits() -> bool:
        return bool(await sql.fetchval(f"SELECT count(*) {BACKENDS} AND wait_event_type = 'Lock'"))

    await until(waits)
    await transaction.rollback()
    assert [row["status"] for row in await cancelling] == ["cancelled"]


async def test_a_statement_that_is_refused_is_an_error_at_once_with_its_cause(
    database: Database, sql: SQL
) -> None:
    job_id = await make_job(sql, unique_key="k")
    await make_job(sql)
    spoil = parse("test/spoil", "UPDATE {schema}.jobs SET unique_key = :key::text", "control_plane")

    with pytest.raises(StatementError, match="SQLSTATE 23505") as caught:
        await database.fetch(spoil, {"key": "same"})

    assert isinstance(caught.value.__cause__, asyncpg.UniqueViolationError)
    assert isinstance(caught.value, DatabaseError)
    assert (await claim_of(sql, job_id)).unique_key == "k"


async def test_closed_it_opens_again(counting: Counting) -> None:
    await counting.fetch(ONE, {})
    await counting.close()
    await counting.close()

    assert [row["one"] for row in await counting.fetch(ONE, {})] == [1]


class Sleeping(Session):
    """A session whose setup does not end."""

    @property
    def for_session(self) -> str:
        """Long enough to be met in the middle."""
        return "SELECT pg_sleep(60)"


async def test_a_connection_whose_setup_is_cut_short_is_closed(settings: DatabaseSettings, sql: SQL) -> None:
    connecting = asyncio.create_task(connect(settings, Sleeping({}), "cut short"))

    async def in_setup() -> bool:
        query = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            "AND application_name = 'cut short' AND wait_event = 'PgSleep'"
        )
        return bool(await sql.fetchval(query))

    await until(in_setup)
    connecting.cancel()
    await asyncio.wait([connecting])

    assert connecting.cancelled()
    del connecting
    gc.collect()  # one that was left open says so, and warnings are errors
