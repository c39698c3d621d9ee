"""Tasks enqueue themselves: with the arguments of their handler, under options, in the caller's transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import cast

import asyncpg
import pydantic
import pytest

from jobplane import (
    Fixed,
    InvalidArgumentsError,
    InvalidInputError,
    JobContext,
    JobQueue,
    JobQueueOptions,
    task,
)
from tests.factories import SQL, count_jobs, row_of


@dataclass
class Address:
    street: str
    number: int = 1


class Person(pydantic.BaseModel):
    name: str
    born: datetime


class Tasks:
    """Tasks of one queue, as an application has them at module level."""

    def __init__(self, queue: JobQueue) -> None:
        self.queue = queue

        @queue.task
        async def greet(name: str, times: int = 1) -> str:
            return name * times

        @queue.task(
            name="send-mail",
            queue="mail",
            priority=5,
            max_attempts=7,
            delay=30,
            tags=["mail"],
            retry=Fixed(timedelta(seconds=1)),
        )
        def send(ctx: JobContext, to: Person, address: Address, *, urgent: bool = False) -> None:
            ctx.logger.info("to %s at %s, urgent: %s", to, address, urgent)

        self.greet = greet
        self.send = send


class Mailer:
    """An object whose method is a task."""

    def __init__(self, sender: str) -> None:
        self.sender = sender

    @task(name="mail")
    async def send(self, ctx: JobContext, to: str) -> str:
        return f"{self.sender} to {to}, attempt {ctx.attempt}"


@pytest.fixture
def tasks(queue: JobQueue) -> Tasks:
    return Tasks(queue)


ANN = Person(name="Ann", born=datetime(1990, 1, 1, tzinfo=UTC))


async def test_a_task_enqueues_its_arguments_by_name(tasks: Tasks, sql: SQL) -> None:
    result = await tasks.greet.enqueue("Ann", times=3)

    row = await row_of(sql, result.id)
    assert (row["type"], json.loads(row["payload"])) == ("greet", {"name": "Ann", "times": 3})


async def test_a_task_enqueues_under_its_own_options(tasks: Tasks, sql: SQL) -> None:
    result = await tasks.send.enqueue(ANN, Address("Main St"), urgent=True)

    row = await row_of(sql, result.id)
    assert (row["type"], row["queue"], row["priority"], row["max_attempts"], row["tags"]) == (
        "send-mail",
        "mail",
        5,
        7,
        ["mail"],
    )
    assert row["scheduled_at"] - row["created_at"] == timedelta(seconds=30)
    assert row["retry_policy"] is None, "a task's own policy is the workers' business"
    assert json.loads(row["payload"]) == {
        "to": {"name": "Ann", "born": "1990-01-01T00:00:00Z"},
        "address": {"street": "Main St", "number": 1},
        "urgent": True,
        "priority": 5,
    }


async def test_the_options_of_a_call_win_over_the_tasks_and_those_over_the_clients(
    database_url: str, sql: SQL
) -> None:
    options: JobQueueOptions = {"max_attempts": 2, "queue": "client", "tags": ["client"], "delay": 10}
    due = datetime.now(UTC) + timedelta(days=1)

    async with JobQueue(database_url, options=options) as queue:
        tasks = Tasks(queue)
        plain = await tasks.greet.enqueue("a")
        own = await tasks.send.enqueue(ANN, Address("x"))
        call = await tasks.send.with_options(
            queue="call", priority=9, scheduled_at=due, unique_key="k", retry=Fixed(timedelta(seconds=2))
        ).enqueue(ANN, Address("x"))

    rows = [await row_of(sql, result.id) for result in (plain, own, call)]
    assert [row["queue"] for row in rows] == ["client", "mail", "call"]
    assert [row["max_attempts"] for row in rows] == [2, 7, 7]
    assert [row["tags"] for row in rows] == [["client"], ["mail"], ["mail"]]
    assert [row["priority"] for row in rows] == [0, 5, 9]
    assert [row["scheduled_at"] - row["created_at"] for row in rows[:2]] == [
        timedelta(seconds=10),
        timedelta(seconds=30),
    ]
    assert rows[2]["scheduled_at"] == due
    assert json.loads(rows[2]["retry_policy"]) == {"kind": "fixed", "seconds": [2.0]}


async def test_a_task_enqueues_from_synchronous_code(tasks: Tasks, sql: SQL) -> None:
    plain = await asyncio.to_thread(tasks.greet.enqueue_sync, "Ann")
    under = await asyncio.to_thread(tasks.greet.with_options(queue="q").enqueue_sync, "Bob", 2)

    assert json.loads((await row_of(sql, plain.id))["payload"]) == {"name": "Ann"}
    assert (await row_of(sql, under.id))["queue"] == "q"


async def test_a_task_enqueues_in_the_callers_transaction(tasks: Tasks, sql: SQL, database_url: str) -> None:
    """I3."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()

    await tasks.greet.with_options(connection=connection, notify=True).enqueue("Ann")
    assert await count_jobs(sql) == 0
    await transaction.rollback()
    assert await count_jobs(sql) == 0
    await tasks.greet.with_options(connection=connection).enqueue("Ann")
    await connection.close()

    assert await count_jobs(sql) == 1


async def test_jobs_by_value_are_written_by_any_client(tasks: Tasks, queue: JobQueue, sql: SQL) -> None:
    jobs = [
        tasks.greet.new("a"),
        tasks.greet.with_options(priority=3).new("b"),
        tasks.send.new(ANN, Address("c")),
    ]

    await queue.enqueue_new(jobs[0])
    assert await queue.enqueue_many(jobs[1:]) == 2

    rows = await sql.fetch("SELECT id, priority FROM control_plane.jobs ORDER BY id")
    assert [(row["id"], row["priority"]) for row in rows] == [
        (jobs[0].id, 0),
        (jobs[1].id, 3),
        (jobs[2].id, 5),
    ]


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        (("Ann",), {"times": "three"}, "times"),
        ((7,), {}, "name"),
        ((), {}, "missing a required argument: 'name'"),
        (("Ann",), {"tims": 3}, "tims"),
        (("Ann", 1, 2), {}, "too many positional"),
        ((object(),), {}, "JSON"),
    ],
)
async def test_arguments_that_do_not_fit_are_refused_at_enqueue_and_nothing_written(
    tasks: Tasks, sql: SQL, args: tuple[object, ...], kwargs: dict[str, object], says: str
) -> None:
    for enqueue in (tasks.greet.enqueue, tasks.greet.with_options(delay=1).enqueue):
        untyped = cast("Callable[..., Awaitable[object]]", enqueue)
        with pytest.raises(InvalidArgumentsError, match=says):
            await untyped(*args, **kwargs)

    assert await count_jobs(sql) == 0


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "x" * 1_048_577], ids=["nul", "surrogate", "too large"])
async def test_an_argument_that_cannot_be_stored_is_refused(tasks: Tasks, sql: SQL, name: str) -> None:
    with pytest.raises(InvalidInputError):
        await tasks.greet.enqueue(name)

    assert await count_jobs(sql) == 0


async def test_a_task_with_a_default_that_makes_ids_makes_one_job(queue: JobQueue, sql: SQL) -> None:
    """I2."""

    @queue.task(idempotency_key="nightly")
    def nightly() -> None: ...

    results = [await nightly.enqueue() for _ in range(3)]

    assert [result.existing for result in results] == [False, True, True]
    assert await count_jobs(sql) == 1


async def test_a_method_enqueues_through_its_instance_and_runs_as_itself(queue: JobQueue, sql: SQL) -> None:
    mailer = Mailer("me")

    job = mailer.send.new("you")
    await queue.enqueue_new(job)

    assert json.loads((await row_of(sql, job.id))["payload"]) == {"to": "you"}
    assert (await row_of(sql, job.id))["type"] == "mail"
