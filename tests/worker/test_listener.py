"""The listening connection comes back by itself, whatever is done to it (F7)."""

import asyncio
from collections.abc import Callable
from uuid import uuid4

from jobplane import JobQueue, JobStatus, Worker
from jobplane.events import DatabaseRecovered, ServiceFailed
from tests.factories import SQL
from tests.support import Recorder, until

LISTENING = "FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"


async def test_a_listener_that_was_cut_off_listens_again_soon_however_often_that_happens(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    worker = make_worker(queue, poll_interval=60)
    recorder = Recorder(worker.events, ServiceFailed, DatabaseRecovered)

    async with worker:
        for number in range(12):
            # The server shows the LISTEN a moment before the worker has its answer.
            await recorder.wait_for(DatabaseRecovered, number)
            pid = await until(lambda: sql.fetchval(f"SELECT pid {LISTENING}"), timeout=1)
            await sql.execute("SELECT pg_terminate_backend($1)", pid)
            await until(lambda pid=pid: _is_gone(sql, pid))  # type: ignore[misc]
        await until(lambda: sql.fetchval(f"SELECT pid {LISTENING}"), timeout=1)
        await recorder.wait_for(DatabaseRecovered, 12)

    failures = [event for event in recorder.of(ServiceFailed) if event.service == "listener"]
    recovered = [event for event in recorder.of(DatabaseRecovered) if event.service == "listener"]
    assert len(failures) == len(recovered) == 12


async def test_what_was_enqueued_while_nobody_listened_starts_when_the_listener_is_back(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    async with make_worker(queue, poll_interval=60):
        warm_up = await work.enqueue()
        await queue.wait(warm_up.id, 10)
        await until(lambda: sql.fetchval(f"SELECT pid {LISTENING}"))

        async with sql.transaction():
            job_id = await sql.fetchval(
                "INSERT INTO control_plane.jobs (id, type) VALUES ($1, 'work') RETURNING id", uuid4()
            )
            await sql.fetch(f"SELECT pg_terminate_backend(pid) {LISTENING}")
        job = await queue.wait(job_id, 5)

    assert job.status is JobStatus.COMPLETED


async def test_words_that_mean_nothing_are_not_heeded(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    running, finish = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await finish.wait()

    worker = make_worker(queue)
    recorder = Recorder(worker.events, ServiceFailed)
    made = await work.enqueue()

    async with worker:
        await running.wait()
        await until(lambda: sql.fetchval(f"SELECT pid {LISTENING}"))
        for word in ("", "cancel:", "cancel:nobody", f"cancel:{uuid4()}", "no such queue", "x" * 7000):
            await sql.execute("SELECT pg_notify('jobplane_control_plane', $1)", word)
        finish.set()
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.COMPLETED
    assert recorder.of(ServiceFailed) == []


async def _is_gone(sql: SQL, pid: int) -> bool:
    gone: bool = await sql.fetchval("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid)
    return gone
