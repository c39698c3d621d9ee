"""The synchronous client: the same operations with the same answers, safe to share between threads."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from jobplane import (
    CancelResult,
    ConfigurationError,
    DatabaseSettings,
    Fixed,
    JobQueue,
    JobStatus,
    SyncJobQueue,
)
from jobplane.settings import resolve
from jobplane.store.conninfo import conninfo_of
from jobplane.store.sync import SyncDatabase
from tests.factories import SQL, count_jobs, make_job, row_of
from tests.support import until

ASYNC_ONLY = {"sync", "task", "registry"}


@pytest.fixture
def sync_queue(database_url: str) -> Iterator[SyncJobQueue]:
    """A client for synchronous code."""
    with SyncJobQueue(database_url) as queue:
        yield queue


def _public(cls: type) -> dict[str, object]:
    return {name: value for name, value in vars(cls).items() if not name.startswith("_")}


def test_both_clients_have_the_same_operations_with_the_same_parameters() -> None:
    ours, theirs = _public(SyncJobQueue), _public(JobQueue)

    assert ours.keys() == theirs.keys() - ASYNC_ONLY
    for name in ours.keys() - {"settings"}:
        one, other = getattr(SyncJobQueue, name), getattr(JobQueue, name)
        assert not inspect.iscoroutinefunction(one)
        mine = set(inspect.signature(one).parameters)
        # bulk enqueue and reading inside the caller's transaction are asynchronous matters so far
        extra = set(inspect.signature(other).parameters) - mine
        assert extra <= ({"connection", "notify"} if name in {"enqueue_many", "get_job"} else set()), name


async def test_enqueue_schedule_and_get(sync_queue: SyncJobQueue, sql: SQL) -> None:
    due = datetime.now(UTC) + timedelta(days=9)

    one = await asyncio.to_thread(
        lambda: sync_queue.enqueue(
            "work", {"a": 1}, priority=5, tags=["x"], retry=Fixed(timedelta(seconds=1))
        )
    )
    other = await asyncio.to_thread(lambda: sync_queue.schedule("work", due, {"b": 2}, queue="q"))

    row = await row_of(sql, one.id)
    assert (one.created_at, one.scheduled_at, one.status) == (
        row["created_at"],
        row["scheduled_at"],
        JobStatus.PENDING,
    )
    assert (row["priority"], row["tags"]) == (5, ["x"])
    assert (other.scheduled_at, (await row_of(sql, other.id))["queue"]) == (due, "q")
    job = await asyncio.to_thread(sync_queue.get_job, one.id)
    assert job is not None
    assert (job.payload, type(job.id), job.created_at.tzinfo is not None) == (
        {"a": 1, "priority": 5},
        type(one.id),
        True,
    )


async def test_administration(sync_queue: SyncJobQueue, sql: SQL) -> None:
    pending = await make_job(sql)
    failed = await make_job(sql, JobStatus.FAILED)
    running = await make_job(sql, JobStatus.RUNNING)

    assert await asyncio.to_thread(sync_queue.cancel, pending) is CancelResult.CANCELLED
    assert await asyncio.to_thread(sync_queue.cancel, running) is CancelResult.REQUESTED
    await asyncio.to_thread(sync_queue.retry, failed)
    await asyncio.to_thread(sync_queue.pause_queue, "default")

    assert (await row_of(sql, pending))["status"] == "cancelled"
    assert (await row_of(sql, failed))["status"] == "pending"
    counted = await asyncio.to_thread(sync_queue.count_jobs)
    assert counted[JobStatus.CANCELLED] == counted[JobStatus.PENDING] == counted[JobStatus.RUNNING] == 1
    page = await asyncio.to_thread(lambda: sync_queue.list_jobs(status="pending", limit=1))
    assert [job.id for job in page.jobs] == [failed]
    assert page.next_cursor is None
    (queue,) = await asyncio.to_thread(sync_queue.list_queues)
    assert queue.paused_at is not None
    await asyncio.to_thread(sync_queue.resume_queue, "default")
    assert await sql.fetchval("SELECT paused_at FROM control_plane.queues") is None
    assert await asyncio.to_thread(sync_queue.list_attempts, failed) == []


async def test_threads_may_share_one_client(sync_queue: SyncJobQueue, sql: SQL) -> None:
    def enqueue(number: int) -> object:
        return sync_queue.enqueue("work", {"n": number}, idempotency_key=f"k{number % 100}").id

    with ThreadPoolExecutor(16) as pool:
        ids = await asyncio.to_thread(lambda: list(pool.map(enqueue, range(400))))

    assert len(set(ids)) == await count_jobs(sql) == 100


async def test_threads_that_use_it_first_at_once_share_one_pool(settings: DatabaseSettings, sql: SQL) -> None:
    limited = resolve(DatabaseSettings, {}, url=settings.url, pool_max=3).settings
    start = threading.Barrier(8)

    def use() -> int:
        start.wait()
        return len(queue.list_jobs().jobs)

    with SyncJobQueue(settings=limited) as queue, ThreadPoolExecutor(8) as pool:
        pages = await asyncio.to_thread(
            lambda: [future.result() for future in [pool.submit(use) for _ in range(8)]]
        )
        backends = await sql.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobplane'"
        )

    assert pages == [0] * 8
    assert 1 <= backends <= 3


async def test_closed_it_opens_again(sync_queue: SyncJobQueue) -> None:
    for _ in range(2):
        assert (await asyncio.to_thread(sync_queue.list_jobs)).jobs == ()
        await asyncio.to_thread(sync_queue.close)
        await asyncio.to_thread(sync_queue.close)


async def test_leaving_the_asynchronous_client_closes_its_synchronous_one(
    database_url: str, sql: SQL
) -> None:
    async with JobQueue(database_url) as queue:
        await asyncio.to_thread(queue.sync.list_jobs)

    async def none_left() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobplane'"
        return bool(await sql.fetchval(query) == 0)

    await until(none_left)  # a server process ends a moment after its connection


def test_settings_in_parts_become_what_libpq_reads() -> None:
    settings = resolve(
        DatabaseSettings, {}, host="h", port=1234, name="n", user="u", password="p'w \\", ssl="verify-full"
    ).settings

    parsed = psycopg.conninfo.conninfo_to_dict(conninfo_of(settings))

    assert parsed == {
        "host": "h",
        "port": "1234",
        "dbname": "n",
        "user": "u",
        "password": "p'w \\",
        "sslmode": "verify-full",
    }


def test_nothing_that_says_where_the_database_is_is_a_clear_error() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        SyncDatabase(DatabaseSettings())
