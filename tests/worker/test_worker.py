"""A worker as a part of another program: it starts, stops and starts again, and minds its settings."""

import asyncio
import os
import signal
from collections.abc import Callable

import asyncpg
import pytest

from jobplane import ConfigurationError, DatabaseSettings, JobQueue, JobStatus, Registry, Worker
from jobplane.events import JobStarted, WorkerStarted, WorkerStopped
from tests.factories import SQL
from tests.support import Recorder, on_database, until


async def test_a_worker_can_be_stopped_and_started_again_with_all_its_slots(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    together = asyncio.Barrier(3)

    @queue.task(max_attempts=1)
    async def meet() -> None:
        await together.wait()  # returns only when three are in here at once

    worker = make_worker(queue, queues="default:3", poll_interval=60)

    for _ in range(3):
        async with worker:
            made = [await meet.enqueue() for _ in range(3)]
            for one in made:
                assert (await queue.wait(one.id, 10)).status is JobStatus.COMPLETED


async def test_starting_twice_and_stopping_twice_are_fine(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker(queue)
    recorder = Recorder(worker.events, WorkerStarted, WorkerStopped)

    await worker.stop()
    await worker.start()
    await worker.start()
    await asyncio.gather(worker.stop(), worker.stop())
    await worker.stop()

    assert [type(event) for event in recorder.seen] == [WorkerStarted, WorkerStopped]


async def test_a_worker_that_has_stopped_leaves_no_connection_behind(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    async with make_worker(queue, queues="default:2,other:2"):
        made = await work.enqueue()
        await queue.wait(made.id, 10)
        assert await _connections(sql) > 0

    await until(lambda: _no_connections(sql))


async def test_a_worker_holds_few_connections_whatever_its_concurrency(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    running, finish = asyncio.Semaphore(0), asyncio.Event()

    @queue.task
    async def work() -> None:
        running.release()
        await finish.wait()

    for _ in range(60):
        await work.enqueue()

    async with make_worker(queue, queues="default:60"):
        for _ in range(60):
            await running.acquire()
        assert await _connections(sql) <= 8
        finish.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_works_until_a_signal_and_then_returns_having_stopped(
    queue: JobQueue, make_worker: Callable[..., Worker], number: signal.Signals
) -> None:
    running = asyncio.Event()

    @queue.task
    async def work() -> str:
        running.set()
        return "done"

    before = signal.getsignal(number)
    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, WorkerStopped)
    run = asyncio.create_task(worker.run())
    await running.wait()
    await queue.wait(made.id, 10)

    os.kill(os.getpid(), number)
    await asyncio.wait_for(run, 5)

    assert len(recorder.of(WorkerStopped)) == 1
    assert signal.getsignal(number) is before, "the host's own handlers are back"


async def test_run_returns_when_the_host_asks_it_to_stop(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker(queue)
    recorder = Recorder(worker.events, WorkerStarted)
    run = asyncio.create_task(worker.run())
    await recorder.wait_for(WorkerStarted)

    worker.request_stop()

    await asyncio.wait_for(run, 5)


async def test_a_worker_starts_while_its_database_is_away_and_works_once_it_is_there(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    settings: DatabaseSettings,
    database_url: str,
    sql: SQL,
) -> None:
    @queue.task
    async def work() -> None: ...

    made = await work.enqueue()
    worker = make_worker(queue, url=f"{database_url}_not_yet")
    recorder = Recorder(worker.events, WorkerStarted, JobStarted)
    name = database_url.rpartition("/")[2]

    async with worker:
        await recorder.wait_for(WorkerStarted)
        await queue.close()
        await sql.close()
        await _rename(database_url, name, f"{name}_not_yet")
        try:
            await recorder.wait_for(JobStarted, timeout=15)
        finally:
            await worker.stop()
            await _rename(database_url, f"{name}_not_yet", name)

    assert (await queue.wait(made.id, 5)).status is JobStatus.COMPLETED


def test_a_worker_without_a_database_is_refused_and_told_how_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("DATABASE_URL", "AUDIT_LOGS_DB_HOST"):
        monkeypatch.delenv(name, raising=False)

    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        Worker(Registry())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"queues": ""}, "queues"),
        ({"queues": "default:0"}, "default:0"),
        ({"queues": "a b:1"}, "a b:1"),
        ({"lease": 2, "heartbeat_interval": 1}, "three heartbeat"),
        ({"poll_intervall": 1}, "poll_interval"),
        ({"threads": 0}, "threads"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_the_worker_is_made(
    settings: dict[str, object], said: str
) -> None:
    database = DatabaseSettings(url="postgresql://localhost/none")
    make: Callable[..., Worker] = Worker

    with pytest.raises(ConfigurationError, match=said):
        make(Registry(), database=database, **settings)


async def _connections(sql: SQL) -> int:
    count: int = await sql.fetchval(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name ~ '^jobplane (worker|heartbeat) '"
    )
    return count


async def _no_connections(sql: SQL) -> bool:
    return await _connections(sql) == 0


async def _rename(url: str, old: str, new: str) -> None:
    connection = await asyncpg.connect(on_database(url, "postgres"))
    await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", old)
    await connection.execute(f'ALTER DATABASE "{old}" RENAME TO "{new}"')
    await connection.close()
