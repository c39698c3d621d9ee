"""Stop signals at bad moments: during the start, with handlers that do not heed, without a database (I23, F20)."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Callable

import pytest

from jobplane import JobQueue, JobStatus
from tests.factories import SQL, row_of
from tests.proxy import Proxy
from tests.support import SLACK, Journal, WorkerProcess, until

Spawn = Callable[..., WorkerProcess]
GRACE = 1.0
"""Of these worker processes, in seconds."""
EXIT = 1.5
"""Seconds that stopping may take beyond the grace period, one, and the end of the interpreter."""


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be cut."""
    async with Proxy(database_url) as proxy:
        yield proxy


@pytest.mark.parametrize("task", ["stubborn", "stubborn_in_thread", "block"])
async def test_handlers_that_do_not_heed_do_not_keep_a_worker_from_exiting(
    queue: JobQueue, sql: SQL, spawn_worker: Spawn, journal: Journal, task: str
) -> None:
    worker = spawn_worker(JOBPLANE_GRACE=str(GRACE))
    seconds = 2.0 if task == "block" else 60.0  # nothing can interrupt what blocks the loop but its own end
    made = await queue.enqueue(task, {"seconds": seconds})
    await until(lambda: _started(journal, 1))

    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    code = await worker.exit_code()

    assert code == 0
    assert time.monotonic() - began < (seconds if task == "block" else 0) + (GRACE + EXIT) * SLACK
    assert await queue.list_workers() == []
    row = await row_of(sql, made.id)
    assert (
        row["status"] == {"stubborn": "running", "stubborn_in_thread": "pending", "block": "completed"}[task]
    )


async def test_a_second_signal_ends_the_process_even_while_a_handler_blocks_it(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    worker = spawn_worker()
    await queue.enqueue("block", {"seconds": 60})
    await until(lambda: _started(journal, 1))

    worker.signal(signal.SIGINT)

    async def it_ended() -> bool:
        # As an impatient person would: signals that follow each other closely may reach another thread, and then
        # wait for the main one, which sleeps.
        if worker.process.poll() is None:
            worker.signal(signal.SIGTERM)
        return worker.process.poll() is not None

    await until(it_ended)

    assert await worker.exit_code() in {128 + signal.SIGINT, 128 + signal.SIGTERM}


@pytest.mark.parametrize("trouble", ["cut", "stop_up", "lose_answers"])
async def test_a_busy_worker_whose_network_breaks_stops_in_time_and_its_jobs_come_back_by_their_leases(
    queue: JobQueue, proxy: Proxy, spawn_worker: Spawn, journal: Journal, trouble: str
) -> None:
    made = [await queue.enqueue("work", {"seconds": 60}, max_attempts=5) for _ in range(3)]
    worker = spawn_worker(DATABASE_URL=proxy.url, JOBPLANE_GRACE=str(GRACE))
    await until(lambda: _started(journal, 3))

    getattr(proxy, trouble)()
    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    code = await worker.exit_code()
    took = time.monotonic() - began

    assert code == 0
    assert took < (GRACE + EXIT) * SLACK
    assert len(journal.entries("cancelled")) == 3
    spawn_worker()
    await until(lambda: _started(journal, 6))
    counts = await queue.count_jobs()
    assert counts[JobStatus.RUNNING] == len(made)


async def test_a_signal_during_the_start_ends_the_process_without_a_trace(
    queue: JobQueue, sql: SQL, spawn_worker: Spawn, journal: Journal
) -> None:
    waiting = await queue.enqueue("once", {})
    codes: list[int] = []

    for step in range(10):
        worker = spawn_worker(JOBPLANE_QUEUES="another:1")
        await until(lambda worker=worker, step=step: _has_come(queue, worker, 0.06 * step))  # type: ignore[misc]
        worker.signal(signal.SIGTERM)
        codes.append(await worker.exit_code(10))
        assert "Traceback" not in worker.log.read_text()

    # Until Python runs our code, SIGTERM means what it means to every process.
    assert set(codes) <= {0, -signal.SIGTERM}
    await until(lambda: _nobody_lives(queue))
    assert (await row_of(sql, waiting.id))["attempts"] == 0


async def _started(journal: Journal, count: int) -> bool:
    return len(journal.entries("start")) >= count


async def _nobody_lives(queue: JobQueue) -> bool:
    return await queue.list_workers() == []


async def _has_come(queue: JobQueue, worker: WorkerProcess, cpu_seconds: float) -> bool:
    """So far, whatever else this machine does meanwhile; or to the end of its start, where the machine is quick."""
    ticks = worker.cpu_seconds()
    return ticks is None or ticks >= cpu_seconds or bool(await queue.list_workers())
