"""Enqueueing inside the caller's own transaction: the job exists if and only if it commits (I3)."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import asyncpg
import psycopg
import pytest
from psycopg.rows import dict_row, namedtuple_row, scalar_row, tuple_row
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session

from jobplane import Fixed, JobQueue, JobQueueOptions, UnsupportedConnectionError, new_job
from jobplane.ids import new_job_id
from jobplane.sql import channel
from tests.factories import SQL, count_jobs, make_job, row_of
from tests.store.callers import ASYNC, SYNC, Open, OpenSync
from tests.support import until

on_every_connection = pytest.mark.parametrize("opened", ASYNC.values(), ids=ASYNC.keys())
on_every_sync_connection = pytest.mark.parametrize("opened", SYNC.values(), ids=SYNC.keys())


@on_every_connection
async def test_the_job_exists_when_the_callers_transaction_commits_and_not_before(
    queue: JobQueue, sql: SQL, database_url: str, opened: Open
) -> None:
    """I3."""
    async with opened(database_url) as caller:
        result = await queue.enqueue("work", {"a": "☃"}, connection=caller.connection)
        assert await count_jobs(sql) == 0
        await caller.commit()

    row = await row_of(sql, result.id)
    assert (row["type"], json.loads(row["payload"])) == ("work", {"a": "☃"})
    assert (result.scheduled_at, result.created_at) == (row["scheduled_at"], row["created_at"])


@on_every_connection
async def test_a_rollback_leaves_no_job(queue: JobQueue, sql: SQL, database_url: str, opened: Open) -> None:
    """I3."""
    async with opened(database_url) as caller:
        await queue.enqueue("work", connection=caller.connection, notify=True)
        await queue.enqueue_many([new_job("work", {})], connection=caller.connection)
        await caller.rollback()

    assert await count_jobs(sql) == 0


@on_every_connection
async def test_every_option_travels_over_the_callers_connection(
    queue: JobQueue, sql: SQL, database_url: str, opened: Open
) -> None:
    due = datetime.now(UTC) + timedelta(days=3)
    options: JobQueueOptions = {
        "queue": "q",
        "priority": 7,
        "max_attempts": 9,
        "unique_key": "k",
        "tags": ["a", 'b"{},\\'],
        "retry": Fixed(timedelta(seconds=5)),
        "scheduled_at": due,
        "id": new_job_id(),
    }

    async with opened(database_url) as caller:
        result = await queue.enqueue("work", {"n": 2**100}, connection=caller.connection, **options)
        await caller.commit()

    row = await row_of(sql, options["id"])
    assert (row["queue"], row["priority"], row["max_attempts"], row["unique_key"]) == ("q", 7, 9, "k")
    assert (row["tags"], row["scheduled_at"], result.scheduled_at) == (["a", 'b"{},\\'], due, due)
    assert json.loads(row["payload"]) == {"n": 2**100, "priority": 7}
    assert json.loads(row["retry_policy"]) == {"kind": "fixed", "seconds": [5.0]}


@on_every_connection
async def test_a_taken_key_does_not_break_the_callers_transaction(
    queue: JobQueue, sql: SQL, database_url: str, opened: Open
) -> None:
    """I2, I15: a unique violation would abort everything else in it."""
    first = await make_job(sql, unique_key="k")

    async with opened(database_url) as caller:
        taken = await queue.enqueue("work", connection=caller.connection, unique_key="k")
        again = [
            await queue.enqueue("work", connection=caller.connection, idempotency_key="i") for _ in range(2)
        ]
        await caller.commit()

    assert (taken.id, taken.existing) == (first, True)
    assert again[0].id == again[1].id
    assert [result.existing for result in again] == [False, True]
    assert await count_jobs(sql) == 2


@on_every_connection
async def test_the_transactions_own_job_can_be_read_in_it(
    queue: JobQueue, sql: SQL, database_url: str, opened: Open
) -> None:
    async with opened(database_url) as caller:
        result = await queue.enqueue("work", connection=caller.connection)
        inside = await queue.get_job(result.id, connection=caller.connection)
        outside = await queue.get_job(result.id)
        await caller.rollback()

    assert inside is not None
    assert inside.id == result.id
    assert outside is None


@on_every_connection
async def test_workers_are_woken_by_the_commit_when_asked_for(
    queue: JobQueue, database_url: str, opened: Open
) -> None:
    heard: list[str] = []
    listener = await asyncpg.connect(database_url)
    await listener.add_listener(channel("control_plane"), lambda *args: heard.append(str(args[3])))

    async def something() -> list[str]:
        await listener.execute("SELECT 1")
        return heard

    async with opened(database_url) as caller:
        await queue.enqueue("work", connection=caller.connection, queue="silent")
        await queue.enqueue("work", connection=caller.connection, queue="mail", notify=True)
        await queue.enqueue_many(
            [new_job("work", {}, {"queue": "bulk"})], connection=caller.connection, notify=True
        )
        assert await something() == []
        await caller.commit()

    async def both() -> bool:
        return len(await something()) == 2

    await until(both)
    assert sorted(heard) == ["bulk", "mail"]
    await listener.close()


async def test_a_wake_up_leaves_the_callers_transaction_as_durable_as_it_was(
    queue: JobQueue, sql: SQL
) -> None:
    """I1: what a wake-up could do without, the caller's own rows cannot."""
    async with sql.transaction():
        await sql.execute("SET LOCAL synchronous_commit = on")
        await queue.enqueue("work", connection=sql, notify=True)
        await queue.enqueue_many([new_job("work", {})], connection=sql, notify=True)

        assert await sql.fetchval("SELECT current_setting('synchronous_commit')") == "on"


@on_every_connection
async def test_many_jobs_in_the_callers_transaction(
    queue: JobQueue, sql: SQL, database_url: str, opened: Open
) -> None:
    options: JobQueueOptions = {"tags": ["t"], "delay": 60}

    async with opened(database_url) as caller:
        count = await queue.enqueue_many(
            (new_job("work", {"n": n, "text": 'tab\t"quote" \\N ☃'}, options) for n in range(2500)),
            connection=caller.connection,
        )
        assert await count_jobs(sql) == 0
        await caller.commit()

    assert count == await count_jobs(sql) == 2500
    rows = await sql.fetch("SELECT payload, tags, scheduled_at - created_at AS delay FROM control_plane.jobs")
    assert {json.loads(row["payload"])["n"] for row in rows} == set(range(2500))
    assert all(json.loads(row["payload"])["text"] == 'tab\t"quote" \\N ☃' for row in rows)
    assert {(*row["tags"], row["delay"]) for row in rows} == {("t", timedelta(seconds=60))}


@on_every_sync_connection
def test_the_synchronous_client_does_the_same(database_url: str, opened: OpenSync) -> None:
    """I3."""
    with JobQueue(database_url).sync as queue, opened(database_url) as caller:
        gone = queue.enqueue("work", connection=caller.connection, notify=True, tags=["a"], priority=3)
        caller.rollback()
        kept = queue.enqueue("work", {"a": 1}, connection=caller.connection, unique_key="k")
        again = queue.enqueue("work", connection=caller.connection, unique_key="k")
        assert queue.get_job(kept.id) is None
        caller.commit()

        assert queue.get_job(gone.id) is None
        job = queue.get_job(kept.id)

    assert job is not None
    assert job.payload == {"a": 1}
    assert (again.id, kept.existing, again.existing) == (kept.id, False, True)


# -- callers who have changed their connection --------------------------------------------------------


@pytest.mark.parametrize(
    "factory", [tuple_row, dict_row, namedtuple_row, scalar_row], ids=lambda f: f.__name__
)
async def test_any_row_factory_of_the_callers_is_fine(
    queue: JobQueue, sql: SQL, database_url: str, factory: object
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        connection.row_factory = factory  # type: ignore[assignment]
        result = await queue.enqueue("work", connection=connection)

    assert (await row_of(sql, result.id))["type"] == "work"


async def test_codecs_of_the_callers_for_json_are_fine(queue: JobQueue, sql: SQL, database_url: str) -> None:
    """Nearly everyone on asyncpg sets them, to read and write Python values."""
    connection = await asyncpg.connect(database_url)
    for name in ("json", "jsonb"):
        await connection.set_type_codec(name, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")

    one = await queue.enqueue(
        "work", {"a": 1}, connection=connection, tags=["t"], retry=Fixed(timedelta(seconds=1))
    )
    await queue.enqueue_many([new_job("many", {"a": 2}), new_job("many", {"a": 3})], connection=connection)
    found = await queue.get_job(one.id, connection=connection)
    await connection.close()

    rows = await sql.fetch("SELECT payload FROM control_plane.jobs ORDER BY payload")
    assert [json.loads(row["payload"]) for row in rows] == [{"a": 1}, {"a": 2}, {"a": 3}]
    assert json.loads((await row_of(sql, one.id))["retry_policy"]) == {"kind": "fixed", "seconds": [1.0]}
    assert found is not None
    assert found.payload == {"a": 1}


async def test_an_autocommitting_connection_makes_the_job_at_once(
    queue: JobQueue, sql: SQL, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        result = await queue.enqueue("work", connection=connection)
        assert (await row_of(sql, result.id))["type"] == "work"


# -- what cannot be used ------------------------------------------------------------------------------


async def test_a_connection_of_an_unknown_kind_is_refused_by_name(queue: JobQueue, database_url: str) -> None:
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    async_engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://"))
    lite = sqlite3.connect(":memory:")
    for wrong, name in (
        (lite, r"sqlite3\.Connection"),
        (engine, r"sqlalchemy\.engine\.base\.Engine"),
        (async_engine, r"AsyncEngine"),
        (asyncpg.create_pool(database_url, min_size=0), r"asyncpg\.pool\.Pool"),
        (database_url, r"builtins\.str"),
        (object(), r"builtins\.object"),
    ):
        with pytest.raises(
            UnsupportedConnectionError, match=rf"cannot enqueue on a .*{name}; supported are: asyncpg"
        ):
            await queue.enqueue("work", connection=wrong)
        with pytest.raises(UnsupportedConnectionError, match=name):
            queue.sync.enqueue("work", connection=wrong)
    lite.close()


async def test_a_connection_of_the_other_colour_is_refused_with_advice(
    queue: JobQueue, database_url: str
) -> None:
    with psycopg.connect(database_url) as sync_connection, Session() as session:
        for wrong in (sync_connection, session):
            with pytest.raises(UnsupportedConnectionError, match=r"is synchronous.*use SyncJobQueue"):
                await queue.enqueue("work", connection=wrong)
    for opened in ASYNC.values():
        async with opened(database_url) as caller:
            with pytest.raises(UnsupportedConnectionError, match=r"is asynchronous.*use JobQueue"):
                queue.sync.enqueue("work", connection=caller.connection)
            await caller.rollback()


async def test_sqlalchemy_over_another_database_is_refused_by_its_driver(queue: JobQueue) -> None:
    engine = create_engine("sqlite://")

    with Session(engine) as session, engine.connect() as connection:
        for wrong in (session, connection):
            with pytest.raises(
                UnsupportedConnectionError, match=r"sqlite\+pysqlite; supported are postgresql\+psycopg"
            ):
                queue.sync.enqueue("work", connection=wrong)
    engine.dispose()


async def test_wrong_input_is_refused_before_the_connection_is_touched(
    queue: JobQueue, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        with pytest.raises(ValueError, match="priority"):
            await queue.enqueue("work", connection=connection, priority=5000)
        assert connection.info.transaction_status.name == "IDLE"
