"""worker/, duty/, queue/ and wake/: what workers say of themselves and share among them."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from jobplane import DatabaseSettings
from jobplane.sql import channel
from jobplane.store.database import Database
from jobplane.store.store import Store, WorkerCard
from tests.factories import SQL
from tests.support import until

CARD = WorkerCard("w1", "host", 7, "1.0", {"default": 10, "mail": 2}, ("a", "b"))


async def test_a_worker_shows_itself_and_its_heartbeat_moves(store: Store, sql: SQL) -> None:
    await store.beat(CARD, running=3)
    await sql.execute(
        "UPDATE control_plane.workers SET started_at = now() - interval '1 h', heartbeat_at = started_at"
    )
    before = await sql.fetchrow("SELECT * FROM control_plane.workers")
    assert before is not None

    await store.beat(CARD, running=4)

    row = await sql.fetchrow("SELECT * FROM control_plane.workers")
    assert row is not None
    assert (row["id"], row["host"], row["pid"], row["version"], row["types"]) == (
        "w1",
        "host",
        7,
        "1.0",
        ["a", "b"],
    )
    assert json.loads(row["queues"]) == {"default": 10, "mail": 2}
    assert (before["running"], row["running"]) == (3, 4)
    assert row["heartbeat_at"] > before["heartbeat_at"]


async def test_a_worker_that_leaves_is_gone_and_leaving_twice_is_fine(store: Store, sql: SQL) -> None:
    await store.beat(CARD, running=0)

    await store.leave("w1")
    await store.leave("w1")

    assert await sql.fetchval("SELECT count(*) FROM control_plane.workers") == 0


async def test_workers_not_heard_of_for_long_are_forgotten(store: Store, sql: SQL) -> None:
    await store.beat(CARD, running=0)
    await sql.execute("UPDATE control_plane.workers SET heartbeat_at = now() - interval '2 hours'")
    await store.beat(WorkerCard("w2", "host", 8, "1.0", {}, ()), running=0)

    await store.forget_workers(timedelta(hours=1))

    assert [row["id"] for row in await sql.fetch("SELECT id FROM control_plane.workers")] == ["w2"]


async def test_a_duty_is_done_by_one_worker_in_each_interval(settings: DatabaseSettings, sql: SQL) -> None:
    database = Database(settings)
    store = Store(database)
    minute = timedelta(minutes=1)

    taken = await asyncio.gather(*(store.take_duty("rescue", minute, f"w{n}") for n in range(10)))
    again = await store.take_duty("rescue", minute, "w1")
    await database.close()

    assert sum(taken) == 1
    assert not again
    row = await sql.fetchrow(
        "SELECT *, due_at - now() AS left FROM control_plane.duties WHERE name = 'rescue'"
    )
    assert row is not None
    assert timedelta(seconds=50) < row["left"] <= minute
    assert row["last_worker_id"] == f"w{taken.index(True)}"


async def test_a_duty_is_due_again_after_its_interval_and_when_the_interval_became_shorter(
    store: Store, sql: SQL
) -> None:
    hour, second = timedelta(hours=1), timedelta(seconds=1)
    assert await store.take_duty("prune", hour, "w1")

    assert not await store.take_duty("prune", hour, "w1")
    assert await store.take_duty("prune", second, "w1"), (
        "a due time beyond the interval was set by an older setting"
    )
    await sql.execute("UPDATE control_plane.duties SET due_at = now() - interval '1 second'")
    assert await store.take_duty("prune", hour, "w1")


async def test_a_duty_that_nobody_declared_is_never_taken(store: Store) -> None:
    assert not await store.take_duty("unheard_of", timedelta(seconds=1), "w1")


async def test_pausing_twice_keeps_the_first_time_and_resuming_an_unknown_queue_is_fine(
    database: Database, sql: SQL
) -> None:
    (first,) = await database.fetch(database.statement("queue/pause"), {"name": "q"})
    (second,) = await database.fetch(database.statement("queue/pause"), {"name": "q"})
    assert first["paused_at"] == second["paused_at"]

    resumed = await database.fetch(database.statement("queue/resume"), {"name": "q"})
    unknown = await database.fetch(database.statement("queue/resume"), {"name": "unknown"})

    assert ([row["name"] for row in resumed], unknown) == (["q"], [])
    assert await sql.fetchval("SELECT paused_at FROM control_plane.queues WHERE name = 'q'") is None


@pytest.mark.parametrize(
    "word", ["default", "cancel:01900000-0000-7000-8000-000000000000", "☃ quote ' and $1"]
)
async def test_a_word_reaches_those_who_listen_on_the_schemas_channel(
    store: Store, sql: SQL, word: str
) -> None:
    heard: list[str] = []

    def take(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.append(str(payload))

    await sql.add_listener(channel("control_plane"), take)
    await store.notify(word)

    async def something() -> list[str]:
        return heard

    assert await until(something) == [word]
