"""Leases hold as long as their worker lives, and a worker that cannot renew them lets go in time (I7, I8, I9)."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import DatabaseSettings, JobContext, JobQueue, JobStatus, Worker
from jobplane.client.info import WorkerInfo
from jobplane.events import JobLost, JobsRescued, JobStarted, LoopBlocked, ServiceFailed
from jobplane.store.database import Database
from jobplane.store.store import Store
from tests.factories import SQL, make_job, row_of
from tests.proxy import Proxy
from tests.support import SLACK, Recorder, until

LEASE = 2.0
"""Of the test profile, in seconds."""


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be cut."""
    async with Proxy(database_url) as proxy:
        yield proxy


async def test_a_lease_is_renewed_for_as_long_as_its_handler_runs(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    finish = asyncio.Event()

    @queue.task
    async def work() -> None:
        await finish.wait()

    made = await work.enqueue()
    worker, another = make_worker(queue), make_worker(queue)

    async with worker, another:
        await until(lambda: _lease_reaches(sql, made.id, timedelta(seconds=2 * LEASE + 0.5)))
        finish.set()
        job = await queue.wait(made.id, 10)

    assert (job.status, job.lease_epoch) == (JobStatus.COMPLETED, 1)


async def test_a_handler_that_blocks_the_event_loop_beyond_the_lease_keeps_its_job_and_is_told_of(
    queue: JobQueue, make_worker: Callable[..., Worker], settings: DatabaseSettings
) -> None:
    runs, over = 0, threading.Event()
    rescued: list[UUID] = []

    @queue.task
    async def block() -> None:
        nonlocal runs
        runs += 1
        time.sleep(1.5 * LEASE)  # noqa: ASYNC251 - the point of it

    def sweep() -> None:
        # Another worker, whose loop runs on.
        async def rescue() -> None:
            database = Database(settings)
            while not over.is_set():
                rescued.extend(job_id for job_id, _ in await Store(database).rescue())
                await asyncio.sleep(0.05)
            await database.close()

        asyncio.run(rescue())

    worker = make_worker(queue)
    recorder = Recorder(worker.events, LoopBlocked, JobLost)
    sweeping = asyncio.create_task(asyncio.to_thread(sweep))
    made = await block.enqueue()

    async with worker:
        job = await queue.wait(made.id, 15)
    over.set()
    await sweeping

    assert (job.status, job.lease_epoch, runs, rescued) == (JobStatus.COMPLETED, 1, 1, [])
    (warning,) = recorder.of(LoopBlocked)
    assert warning.types == ["block"]
    assert warning.seconds >= 1
    assert recorder.of(JobLost) == []


async def test_a_handler_whose_job_was_taken_back_is_stopped_and_changes_nothing(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    cancelled = asyncio.Event()

    @queue.task
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobStarted, JobLost)

    async with worker:
        await recorder.wait_for(JobStarted)
        await sql.execute(
            "UPDATE control_plane.jobs SET lease_epoch = 2, worker_id = 'another', "
            "lease_expires_at = now() + interval '1 hour'"
        )
        await asyncio.wait_for(cancelled.wait(), 2 * 0.4 + 0.5)
        await recorder.wait_for(JobLost)

    row = await row_of(sql, made.id)
    assert (row["status"], row["lease_epoch"], row["worker_id"]) == ("running", 2, "another")
    assert row["lease_expires_at"] - row["started_at"] > timedelta(minutes=59), (
        "a late heartbeat changed nothing"
    )


async def test_only_jobs_that_are_really_held_are_renewed(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work(ctx: JobContext) -> int:
        return ctx.epoch

    worker = make_worker(queue)
    forgotten = await make_job(
        sql, JobStatus.RUNNING, worker_id=worker.id, lease_expires_at=timedelta(seconds=LEASE)
    )

    async with worker:
        job = await queue.wait(forgotten, 10)

    assert (job.status, job.result) == (JobStatus.COMPLETED, 2), "its lease ran out although the worker lives"


@pytest.mark.parametrize("trouble", ["cut", "stop_up"])
async def test_a_worker_that_is_cut_off_stops_its_handlers_before_their_leases_end(
    queue: JobQueue, make_worker: Callable[..., Worker], proxy: Proxy, trouble: str
) -> None:
    spans: list[tuple[int, float, float]] = []
    cut_off = asyncio.Event()

    @queue.task
    async def work(ctx: JobContext) -> int:
        began = time.monotonic()
        try:
            if ctx.epoch == 1:
                await asyncio.Event().wait()
        finally:
            spans.append((ctx.epoch, began, time.monotonic()))
            cut_off.set()
        return ctx.epoch

    made = await work.enqueue()
    lonely = make_worker(queue, url=proxy.url)
    recorder = Recorder(lonely.events, JobStarted, JobLost)

    async with lonely:
        await recorder.wait_for(JobStarted)
        getattr(proxy, trouble)()
        before = time.monotonic()
        await asyncio.wait_for(cut_off.wait(), LEASE * SLACK)
        async with make_worker(queue):
            job = await queue.wait(made.id, (LEASE + 0.5 + 0.2) * SLACK)
            recovered = time.monotonic()
            await recorder.wait_for(JobLost)
            proxy.heal()

    (first, _, first_ended), (second, second_began, _) = spans
    assert (first, second, job.result) == (1, 2, 2)
    assert first_ended < second_began, "never two at once"
    assert recovered - before < (LEASE + 0.5 + 0.2) * SLACK, "I7: lease, sweep, poll"


async def test_a_worker_shows_itself_while_it_lives_and_leaves_no_trace_when_it_stops(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    running, finish = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await finish.wait()

    worker = make_worker(queue, queues="default:3,slow:1", heartbeat_interval=0.05, lease=5)
    await work.enqueue()

    async with worker:
        await running.wait()
        (info,) = await until(lambda: _busy_workers(queue))
        finish.set()
    assert (info.id, dict(info.queues), info.types) == (worker.id, {"default": 3, "slow": 1}, ("work",))
    assert info.silent_for < 1 * SLACK

    for _ in range(10):
        async with worker:
            await until(lambda: _count_workers(sql))
        assert not await _count_workers(sql)


async def test_a_heartbeat_that_fails_says_so_and_goes_on(
    queue: JobQueue, make_worker: Callable[..., Worker], proxy: Proxy, sql: SQL
) -> None:
    worker = make_worker(queue, url=proxy.url)
    recorder = Recorder(worker.events, ServiceFailed)

    async with worker:
        await until(lambda: _count_workers(sql))
        proxy.cut()
        while not any(event.service == "heartbeat" for event in recorder.of(ServiceFailed)):
            await recorder.wait_for(ServiceFailed, len(recorder.seen) + 1)
        last: object = await sql.fetchval("SELECT heartbeat_at FROM control_plane.workers")
        proxy.heal()
        await until(lambda: _beat_after(sql, last))


async def test_a_job_that_is_lost_before_it_starts_is_dropped(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    started: list[str] = []
    finish = asyncio.Event()

    @queue.task
    async def work(name: str) -> None:
        started.append(name)
        await finish.wait()

    first, second = await work.enqueue("first"), await work.enqueue("second")
    worker = make_worker(queue, queues="default:1")
    worker.slots["default"].pace = 1000.0  # as after many quick jobs: claim ahead
    recorder = Recorder(worker.events, JobLost, JobsRescued)

    async with worker:
        await until(lambda: _is_claimed(sql, second.id))
        await sql.execute(
            "UPDATE control_plane.jobs SET lease_epoch = 7, worker_id = 'another', "
            "lease_expires_at = now() + interval '1 hour' WHERE id = $1",
            second.id,
        )
        (lost,) = await recorder.wait_for(JobLost)
        finish.set()
        await queue.wait(first.id, 10)

    assert (lost.claim.id, started) == (second.id, ["first"])
    assert (await row_of(sql, second.id))["lease_epoch"] == 7


async def _lease_reaches(sql: SQL, job_id: object, beyond_start: timedelta) -> bool:
    reached: bool | None = await sql.fetchval(
        "SELECT lease_expires_at > started_at + $2::interval FROM control_plane.jobs WHERE id = $1",
        job_id,
        beyond_start,
    )
    return bool(reached)


async def _busy_workers(queue: JobQueue) -> list[WorkerInfo]:
    return [info for info in await queue.list_workers() if info.running == 1]


async def _count_workers(sql: SQL) -> int:
    count: int = await sql.fetchval("SELECT count(*) FROM control_plane.workers")
    return count


async def _beat_after(sql: SQL, last: object) -> bool:
    later: bool = await sql.fetchval("SELECT heartbeat_at > $1 FROM control_plane.workers", last)
    return later


async def _is_claimed(sql: SQL, job_id: object) -> bool:
    claimed: bool = await sql.fetchval(
        "SELECT status = 'running' FROM control_plane.jobs WHERE id = $1", job_id
    )
    return claimed
