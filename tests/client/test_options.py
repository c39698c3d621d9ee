"""Where the options of a job come from, on every way in and in both colours: the call, its task, the client, the default."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg
import psycopg
import pytest

from jobplane import (
    Fixed,
    InvalidInputError,
    JobQueue,
    JobQueueOptions,
    NewJob,
    RetryPolicy,
    SyncJobQueue,
    default_queue,
    new_job,
    task,
)
from jobplane.job import EnqueueJobResult
from tests.factories import SQL, row_of

OF_CLIENT: JobQueueOptions = {
    "queue": "of-client",
    "priority": 1,
    "max_attempts": 11,
    "tags": ["client"],
    "retry": Fixed(1),
}
OF_TASK: JobQueueOptions = {"queue": "of-task", "priority": 2, "tags": ["task"]}
OF_CALL: JobQueueOptions = {"queue": "of-call", "tags": ["call"]}
EXPECTED = ("of-call", 2, 11, ["call"], '{"kind":"fixed","seconds":[1.0]}')
"""Queue and tags of the call, the priority of the task, the rest of the client."""


class Own(RetryPolicy):
    """Decides in code, so that it belongs to a task."""

    def _delay(self, attempt: int) -> float:
        return attempt


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[JobQueue]:
    """A client with options of its own."""
    async with JobQueue(database_url, options=OF_CLIENT) as queue:
        yield queue


async def _found(sql: SQL) -> tuple[object, ...]:
    row = await sql.fetchrow(
        "SELECT queue, priority, max_attempts, tags, retry_policy::text, payload::text FROM control_plane.jobs"
    )
    assert row is not None
    assert '"priority": 2' in row["payload"], "the contract has it in the payload as well"
    *columns, policy, _ = row
    return (*columns, policy.replace(" ", ""))


async def _in_transaction(client: JobQueue, url: str, job: NewJob) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await client.enqueue_new(job, connection=connection)
    finally:
        await connection.close()


async def _bulk_in_transaction(client: JobQueue, url: str, job: NewJob) -> None:
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await client.enqueue_many([job], connection=connection)
    finally:
        await connection.close()


async def _streamed(client: JobQueue, job: NewJob) -> None:
    async def stream() -> AsyncIterator[NewJob]:
        yield job

    await client.enqueue_many(stream())


def _sync_in_transaction(client: SyncJobQueue, url: str, job: NewJob) -> EnqueueJobResult:
    with psycopg.connect(url) as connection:
        return client.enqueue_new(job, connection=connection)


WAYS: dict[str, Callable[[JobQueue, str, Callable[[], NewJob]], Awaitable[object]]] = {
    "by type": lambda client, _, __: client.enqueue("work", {"n": 1}, **OF_CALL),
    "by type, at a time": lambda client, _, __: client.schedule(
        "work",
        datetime.now(UTC),
        {"n": 1},
        **{k: v for k, v in OF_CALL.items() if k != "delay"},  # type: ignore[arg-type]
    ),
    "by value": lambda client, _, make: client.enqueue_new(make()),
    "in bulk": lambda client, _, make: client.enqueue_many([make()]),
    "streamed": lambda client, _, make: _streamed(client, make()),
    "in a transaction": lambda client, url, make: _in_transaction(client, url, make()),
    "in bulk, in a transaction": lambda client, url, make: _bulk_in_transaction(client, url, make()),
    "sync, by type": lambda client, _, __: _done(client.sync.enqueue("work", {"n": 1}, **OF_CALL)),
    "sync, by value": lambda client, _, make: _done(client.sync.enqueue_new(make())),
    "sync, in bulk": lambda client, _, make: _done(client.sync.enqueue_many([make()])),
    "sync, in a transaction": lambda client, url, make: _done(_sync_in_transaction(client.sync, url, make())),
}


async def _done(value: object) -> object:
    return value


@pytest.mark.parametrize("way", WAYS)
async def test_the_call_wins_over_the_task_and_the_task_over_the_client(
    client: JobQueue, database_url: str, sql: SQL, way: str
) -> None:
    @client.task(**OF_TASK)
    async def work(n: int) -> None: ...

    await WAYS[way](client, database_url, lambda: work.with_options(**OF_CALL).new(1))

    assert await _found(sql) == EXPECTED


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_a_task_enqueues_itself_under_the_same_options(client: JobQueue, sql: SQL, colour: str) -> None:
    @client.task(**OF_TASK)
    async def work(n: int) -> None: ...

    ready = work.with_options(**OF_CALL)
    await (ready.enqueue(1) if colour == "async" else _done(ready.enqueue_sync(1)))

    assert await _found(sql) == EXPECTED


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_a_schedule_of_a_known_task_makes_jobs_under_the_same_options(
    client: JobQueue, sql: SQL, colour: str
) -> None:
    @client.task(queue="of-task", priority=2, tags=["task"], delay=60)
    async def work(n: int) -> None: ...

    if colour == "async":
        await client.create_schedule("s", "@daily", "work", {"n": 1}, queue="of-call", tags=["call"])
        await client.run_schedule("s")
    else:
        client.sync.create_schedule("s", "@daily", "work", {"n": 1}, queue="of-call", tags=["call"])
        client.sync.run_schedule("s")

    queue, priority, attempts, tags, policy = await _found(sql)
    assert (queue, priority, attempts, tags, policy) == (*EXPECTED[:3], ["schedule:s", "call"], EXPECTED[4])


@pytest.mark.parametrize("options", [{"max_attempts": 1}, {"at_most_once": True}], ids=str)
async def test_a_job_made_by_its_type_has_as_few_attempts_as_its_task(
    queue: JobQueue, sql: SQL, options: dict[str, bool]
) -> None:
    @queue.task(max_attempts=options.get("max_attempts", 1), at_most_once=options.get("at_most_once", False))
    async def charge() -> None: ...

    made = [await queue.enqueue("charge"), queue.sync.enqueue("charge")]
    await queue.create_schedule("s", "@daily", "charge")
    made.append(await queue.run_schedule("s"))

    assert {(await row_of(sql, one.id))["max_attempts"] for one in made} == {1}


async def test_a_tasks_own_policy_counts_before_the_clients_on_every_way_in(
    client: JobQueue, sql: SQL
) -> None:
    """A policy that the row holds would replace the delays of the task's."""

    @client.task(retry=Own())
    async def work() -> None: ...

    await client.enqueue("work")
    await work.enqueue()
    await client.enqueue_many([work.new()])
    await client.create_schedule("s", "@daily", "work")
    await client.run_schedule("s")

    assert await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE retry_policy IS NULL") == 4


async def test_a_due_time_of_the_call_replaces_one_of_the_client_given_otherwise(
    database_url: str, sql: SQL
) -> None:
    later = datetime.now(UTC) + timedelta(days=3)
    async with JobQueue(database_url, options={"delay": 3600}) as client:
        given = await client.enqueue_new(new_job("work", {}, {"scheduled_at": later}))
        left_out = await client.enqueue_new(new_job("work", {}))

    assert (await row_of(sql, given.id))["scheduled_at"] == later
    assert left_out.scheduled_at - left_out.created_at == timedelta(hours=1)


async def test_a_job_made_without_new_job_stays_as_it_was_made(client: JobQueue, sql: SQL) -> None:
    await client.enqueue_new(NewJob(id=UUID(int=7), type="work", payload="{}"))

    row = await row_of(sql, UUID(int=7))
    assert (row["queue"], row["max_attempts"]) == ("default", 3)


async def test_a_method_is_known_by_its_type_before_it_has_an_instance(queue: JobQueue, sql: SQL) -> None:
    class Mailer:
        @queue.task(queue="mail")
        async def send(self, to: str) -> None: ...

    made = await queue.enqueue("send", {"to": "ada"})

    assert (await row_of(sql, made.id))["queue"] == "mail"
    assert "send" not in queue.registry


async def test_tasks_of_the_default_queue_are_known_to_it_and_are_not_its_to_run() -> None:
    @task(queue="mail", max_attempts=1)
    async def known_by_the_default_queue() -> None: ...

    found = default_queue().registry.find("known_by_the_default_queue")

    assert found is known_by_the_default_queue
    assert "known_by_the_default_queue" not in default_queue().registry


async def test_the_payload_of_a_job_made_by_its_type_is_for_the_worker_to_check(
    queue: JobQueue, sql: SQL
) -> None:
    """Made by type is the raw way in: a later version of the handler may take what this one does not."""

    @queue.task
    async def work(n: int) -> None: ...

    made: EnqueueJobResult = await queue.enqueue("work", {"m": "of the next release"})

    assert (await row_of(sql, made.id))["status"] == "pending"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"max_attempts": 0}, "max_attempts"),
        ({"retry": 3}, "retry"),
        ({"quue": "x"}, "options"),
        ({"idempotency_key": "k"}, "options"),
        ({"id": UUID(int=1)}, "options"),
    ],
    ids=str,
)
@pytest.mark.parametrize("colour", [JobQueue, SyncJobQueue])
def test_options_of_a_client_are_checked_when_it_is_made(
    colour: type[JobQueue | SyncJobQueue], options: JobQueueOptions, field: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field} "):
        colour(options=options)


@pytest.mark.parametrize("payload", ["{}", '{"a":1.0,"b":123456789012345678901234567890}', '{"priority":9}'])
async def test_the_priority_of_a_client_reaches_the_payload_and_leaves_the_rest_as_it_was(
    client: JobQueue, sql: SQL, payload: str
) -> None:
    job = NewJob(id=UUID(int=9), type="work", payload=payload, chosen=frozenset())

    await client.enqueue_new(job)

    stored = await sql.fetchval(
        "SELECT payload = ($1::jsonb || '{\"priority\": 1}') FROM control_plane.jobs", payload
    )
    assert stored is True
