"""get_job, list_jobs, wait, list_attempts, list_queues, list_workers, list_unclaimable: what they show."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from jobplane import InvalidInputError, JobQueue, JobStatus, QueueInfo, Unclaimable, WaitTimeoutError
from jobplane.failure import ErrorReport
from jobplane.ids import new_job_id
from jobplane.outcome import Failed, Rescheduled
from jobplane.store.database import Database
from jobplane.store.store import Store, WorkerCard
from tests.factories import SQL, claim_of, make_job
from tests.support import SLACK


@pytest.fixture
async def store(queue: JobQueue) -> Store:
    """A worker's statements on the same database."""
    return Store(Database(queue.settings))


async def test_get_job_shows_all_that_the_row_holds(queue: JobQueue, sql: SQL) -> None:
    job_id = await make_job(
        sql,
        JobStatus.RUNNING,
        queue="q",
        priority=7,
        attempts=2,
        lease_epoch=5,
        unique_key="k",
        tags=["a"],
        result={"a": [1]},
        progress={"fraction": 0.5, "message": "half"},
        cancel_requested_at=timedelta(0),
    )

    job = await queue.get_job(job_id)

    assert job is not None
    assert (job.queue, job.priority, job.attempts, job.lease_epoch) == ("q", 7, 2, 5)
    assert (job.unique_key, job.tags, job.worker_id) == ("k", ("a",), "worker-1")
    assert (job.result, job.progress) == ({"a": [1]}, {"fraction": 0.5, "message": "half"})
    assert job.lease_expires_at is not None
    assert job.cancel_requested_at is not None
    assert not job.is_terminal
    assert await asyncio.to_thread(queue.sync.get_job, job_id) == job


async def test_pages_follow_one_another_newest_first_without_gaps_or_repeats(
    queue: JobQueue, sql: SQL
) -> None:
    ids = [await make_job(sql) for _ in range(25)]

    seen, cursor, sizes = [], None, []
    while True:
        page = await queue.list_jobs(limit=10, cursor=cursor)
        seen += [job.id for job in page.jobs]
        sizes.append(len(page.jobs))
        await make_job(sql)  # a job that arrives meanwhile is newer than every page to come
        if (cursor := page.next_cursor) is None:
            break

    assert seen == ids[::-1]
    assert sizes == [10, 10, 5]


async def test_the_last_full_page_has_no_next(queue: JobQueue, sql: SQL) -> None:
    for _ in range(2):
        await make_job(sql)

    assert (await queue.list_jobs(limit=2)).next_cursor is None
    assert (await queue.list_jobs(limit=1)).next_cursor is not None
    assert (await queue.list_jobs(type="none")).jobs == ()


async def test_each_filter_lets_only_its_own_through(queue: JobQueue, sql: SQL) -> None:
    mail = await make_job(sql, JobStatus.FAILED, type="send", queue="mail", tags=["x", "y"])
    other = await make_job(sql, JobStatus.COMPLETED, type="other", tags=["y"])

    async def found(**filters: str) -> set[object]:
        return {job.id for job in (await queue.list_jobs(**filters)).jobs}  # type: ignore[arg-type]

    assert await found() == {mail, other}
    assert await found(status="failed") == {mail}
    assert await found(status=JobStatus.COMPLETED) == {other}
    assert await found(type="send") == {mail}
    assert await found(queue="mail") == {mail}
    assert await found(tag="y") == {mail, other}
    assert await found(tag="x", status="failed", type="send", queue="mail") == {mail}
    assert await found(tag="x", status="completed") == set()


@pytest.mark.parametrize(
    ("filters", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": True}, "limit"),
        ({"limit": 2.5}, "limit"),
        ({"status": "scheduled"}, "status"),
        ({"type": "a b"}, "type"),
        ({"queue": "a\0"}, "queue"),
        ({"tag": "a\0"}, "tag"),
        ({"tag": ["x"]}, "tag"),
        ({"cursor": "abc"}, "cursor"),
        ({"cursor": 7}, "cursor"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(
    queue: JobQueue, filters: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await queue.list_jobs(**filters)  # type: ignore[arg-type]

    assert caught.value.field == field


async def test_counts_name_every_status(queue: JobQueue, sql: SQL) -> None:
    await make_job(sql)
    for _ in range(2):
        await make_job(sql, JobStatus.FAILED)

    assert await queue.count_jobs() == {
        JobStatus.PENDING: 1,
        JobStatus.RUNNING: 0,
        JobStatus.COMPLETED: 0,
        JobStatus.FAILED: 2,
        JobStatus.CANCELLED: 0,
    }


@pytest.mark.parametrize("status", [JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED])
async def test_wait_returns_a_job_that_has_ended_at_once(
    queue: JobQueue, sql: SQL, status: JobStatus
) -> None:
    job_id = await make_job(sql, status)

    job = await queue.wait(job_id)

    assert (job.id, job.status) == (job_id, status)


async def test_wait_returns_when_the_job_ends(queue: JobQueue, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING)
    waiting = asyncio.create_task(queue.wait(job_id, timedelta(seconds=20)))
    waiting_sync = asyncio.create_task(asyncio.to_thread(queue.sync.wait, job_id, 20))
    await queue.get_job(job_id)
    assert not waiting.done()

    await sql.execute("""UPDATE control_plane.jobs SET status = 'completed', result = '{"a": 1}'""")

    assert (await waiting).result == {"a": 1}
    assert (await waiting_sync).result == {"a": 1}


@pytest.mark.parametrize("timeout", [0, 0.1, timedelta(milliseconds=100)])
async def test_wait_gives_up_after_its_timeout_and_the_job_goes_on(
    queue: JobQueue, sql: SQL, timeout: timedelta | float
) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING)
    begun = time.monotonic()

    with pytest.raises(WaitTimeoutError, match=f"job {job_id} is still running"):
        await queue.wait(job_id, timeout)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(queue.sync.wait, job_id, timeout)

    assert time.monotonic() - begun < 2 * (0.1 + 0.4) * SLACK
    assert await sql.fetchval("SELECT status FROM control_plane.jobs") == "running"


@pytest.mark.parametrize("timeout", ["soon", float("nan"), True])
async def test_a_timeout_that_is_no_time_is_refused(queue: JobQueue, timeout: float) -> None:
    with pytest.raises(InvalidInputError, match="timeout must be a timedelta or seconds"):
        await queue.wait(new_job_id(), timeout)


async def test_the_attempts_of_a_job_are_listed_oldest_first(queue: JobQueue, sql: SQL, store: Store) -> None:
    job_id = await make_job(sql, JobStatus.RUNNING)
    await store.finish(
        [
            (
                await claim_of(sql, job_id),
                Rescheduled(ErrorReport("ValueError", "no", ("a.py:1 f", "b.py:2 g")), timedelta(0)),
            )
        ]
    )
    await sql.execute("UPDATE control_plane.jobs SET status = 'running', attempts = 2, lease_epoch = 2")
    await store.finish([(await claim_of(sql, job_id), Failed(ErrorReport("TimeoutError", ""), "timeout"))])

    attempts = await queue.list_attempts(job_id)

    assert [(one.attempt, one.epoch, one.outcome, one.error_type, one.message) for one in attempts] == [
        (1, 1, "failed", "ValueError", "no"),
        (2, 2, "timeout", "TimeoutError", ""),
    ]
    assert (attempts[0].frames, attempts[1].frames) == (("a.py:1 f", "b.py:2 g"), ())
    assert attempts[0].worker_id == "worker-1"
    assert await queue.list_attempts(new_job_id()) == []
    await store.database.close()


async def test_queues_show_what_waits_runs_and_serves(queue: JobQueue, sql: SQL, store: Store) -> None:
    await make_job(sql, queue="mail", scheduled_at=timedelta(minutes=-5))
    await make_job(sql, queue="mail")
    await make_job(sql, queue="mail", scheduled_at=timedelta(hours=1))
    await make_job(sql, JobStatus.RUNNING, queue="mail")
    await make_job(sql, JobStatus.COMPLETED, queue="done")
    await store.beat(WorkerCard("w1", "h", 1, "1", {"mail": 10, "idle": 2}, ()), 1)
    await store.beat(WorkerCard("w2", "h", 2, "1", {"mail": 5}, ()), 0)
    await store.beat(WorkerCard("dead", "h", 3, "1", {"mail": 99}, ()), 0)
    await sql.execute(
        "UPDATE control_plane.workers SET heartbeat_at = now() - interval '1 hour' WHERE id = 'dead'"
    )
    await queue.pause_queue("paused")

    idle, mail, paused = await queue.list_queues()

    oldest = await sql.fetchval("SELECT min(scheduled_at) FROM control_plane.jobs WHERE queue = 'mail'")
    assert mail == QueueInfo("mail", 2, 1, 1, 2, 15, oldest, None, None)
    assert idle == QueueInfo("idle", 0, 0, 0, 1, 2, None, None, None)
    assert (paused.name, paused.due, paused.workers) == ("paused", 0, 0)
    assert await asyncio.to_thread(queue.sync.list_queues) == [idle, mail, paused]
    await store.database.close()


async def test_workers_show_what_they_serve_and_how_long_they_are_silent(
    queue: JobQueue, sql: SQL, store: Store
) -> None:
    await store.beat(WorkerCard("w1", "host", 7, "1.2", {"mail": 10}, ("a", "b")), 3)
    await sql.execute("UPDATE control_plane.workers SET heartbeat_at = now() - interval '100 seconds'")

    (worker,) = await queue.list_workers()

    assert (worker.id, worker.host, worker.pid, worker.version) == ("w1", "host", 7, "1.2")
    assert (worker.queues, worker.types, worker.running) == ({"mail": 10}, ("a", "b"), 3)
    assert 100 <= worker.silent_for < 130
    assert [one.id for one in await asyncio.to_thread(queue.sync.list_workers)] == ["w1"]
    await store.database.close()


async def test_jobs_that_no_living_worker_can_run_are_unclaimable(
    queue: JobQueue, sql: SQL, store: Store
) -> None:
    """I18: they wait untouched, and are seen."""
    await store.beat(WorkerCard("w1", "h", 1, "1", {"default": 10}, ("known",)), 0)
    await store.beat(WorkerCard("dead", "h", 2, "1", {"default": 10}, ("forgotten",)), 0)
    await sql.execute(
        "UPDATE control_plane.workers SET heartbeat_at = now() - interval '1 hour' WHERE id = 'dead'"
    )
    await make_job(sql, type="known")
    await make_job(sql, type="known", queue="unserved")
    await make_job(sql, type="forgotten")
    await make_job(sql, type="unknown", scheduled_at=timedelta(minutes=-5))
    await make_job(sql, type="unknown")
    await make_job(sql, type="unknown", scheduled_at=timedelta(hours=1))
    await make_job(sql, JobStatus.RUNNING, type="unknown")

    found = await queue.list_unclaimable()

    assert [(one.queue, one.type, one.jobs) for one in found] == [
        ("default", "forgotten", 1),
        ("default", "unknown", 2),
        ("unserved", "known", 1),
    ]
    oldest = await sql.fetchval("SELECT min(scheduled_at) FROM control_plane.jobs WHERE type = 'unknown'")
    assert found[1] == Unclaimable("default", "unknown", 2, oldest)
    assert await asyncio.to_thread(queue.sync.list_unclaimable) == found
    await store.database.close()
