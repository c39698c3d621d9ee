"""Workers that are asked to stop: SIGTERM and SIGINT to real processes (I23)."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from jobplane import JobQueue, JobStatus
from tests.support import SLACK, Journal, WorkerProcess, until

Spawn = Callable[..., WorkerProcess]
GRACE = 2.0
"""Of the worker processes, in seconds."""
EXIT = 1.5
"""Seconds that stopping may take beyond the grace period, one, and the end of the interpreter."""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_worker_exits_at_once_with_0(
    queue: JobQueue, spawn_worker: Spawn, number: signal.Signals
) -> None:
    worker = spawn_worker()
    await until(lambda: _lives(queue))

    worker.signal(number)
    began = time.monotonic()
    code = await worker.exit_code()

    assert code == 0
    assert time.monotonic() - began < EXIT * SLACK
    assert await queue.list_workers() == []


async def test_jobs_that_end_within_the_grace_period_are_completed(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    made = [await queue.enqueue("work", {"seconds": 1.0}) for _ in range(8)]
    worker = spawn_worker()
    await until(lambda: _started(journal, 8))
    later = await queue.enqueue("work", {})

    worker.signal(signal.SIGTERM)
    code = await worker.exit_code()

    jobs = [await queue.get_job(result.id) for result in made]
    assert code == 0
    assert {job.status for job in jobs if job} == {JobStatus.COMPLETED}
    assert {job.attempts for job in jobs if job} == {1}
    waiting = await queue.get_job(later.id)
    assert waiting is not None
    assert (waiting.status, waiting.attempts) == (JobStatus.PENDING, 0)


async def test_jobs_longer_than_the_grace_period_are_handed_back_at_once(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    long = await queue.enqueue("work", {"seconds": 60})
    only_once = await queue.enqueue("work", {"seconds": 60}, max_attempts=1)
    worker = spawn_worker()
    await until(lambda: _started(journal, 2))

    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    code = await worker.exit_code()
    took = time.monotonic() - began

    released, ended = await queue.get_job(long.id), await queue.get_job(only_once.id)
    assert code == 0
    assert GRACE <= took <= GRACE + EXIT * SLACK
    assert released is not None
    assert (released.status, released.attempts) == (JobStatus.PENDING, 1), "what began counts (I6)"
    assert ended is not None
    assert ended.status is JobStatus.FAILED, "a job with one attempt must not run twice"
    assert [attempt.outcome for attempt in await queue.list_attempts(long.id)] == ["interrupted"]
    assert len(journal.entries("cancelled")) == 2


async def test_a_released_job_starts_elsewhere_without_waiting_for_its_lease(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    await queue.enqueue("work", {"seconds": 60})
    first = spawn_worker(JOBPLANE_GRACE="0", JOBPLANE_LEASE="600")
    await until(lambda: _started(journal, 1))
    second = spawn_worker()
    await until(lambda: _lives(queue, 2))

    first.signal(signal.SIGTERM)
    began = time.monotonic()
    await until(lambda: _started(journal, 2))

    assert time.monotonic() - began < EXIT * SLACK
    assert {entry["pid"] for entry in journal.entries("start")} == {first.pid, second.pid}


async def test_a_second_signal_ends_the_process_at_once(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    await queue.enqueue("work", {"seconds": 60})
    worker = spawn_worker(JOBPLANE_GRACE="60")
    await until(lambda: _started(journal, 1))

    worker.signal(signal.SIGINT)
    await until(lambda: _said(worker, "stopping"))
    worker.signal(signal.SIGINT)
    began = time.monotonic()
    code = await worker.exit_code()

    assert code == 130
    assert time.monotonic() - began < EXIT * SLACK


async def test_a_worker_whose_database_is_away_stops_all_the_same(spawn_worker: Spawn) -> None:
    worker = spawn_worker(DATABASE_URL="postgresql://nobody@127.0.0.1:9/nothing")
    await until(lambda: _said(worker, "waiting for the database"))

    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    code = await worker.exit_code()

    assert code == 0
    assert time.monotonic() - began < EXIT * SLACK


async def _lives(queue: JobQueue, count: int = 1) -> bool:
    return len(await queue.list_workers()) == count


async def _started(journal: Journal, count: int) -> bool:
    return len(journal.entries("start")) >= count


async def _said(worker: WorkerProcess, words: str) -> bool:
    return words in worker.log.read_text()
