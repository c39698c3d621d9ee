"""Workers that are killed, stopped and continued: real processes, real signals (acceptance of I4, I5, I6, I7)."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import asyncpg

from jobplane import JobQueue, JobStatus, new_job
from tests.support import Journal, WorkerProcess, until

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Spawn = Callable[..., WorkerProcess]

RECOVERY = 2.0 + 0.5 + 0.2 + 1.0
"""Lease + sweep + poll of the test profile, and a second: seconds."""


async def test_2000_jobs_survive_kill_9_of_workers_and_none_is_completed_twice(
    queue: JobQueue, sql: Connection, spawn_worker: Spawn, journal: Journal
) -> None:
    await queue.enqueue_many(new_job("work", {"seconds": 0.02}, {"max_attempts": 10}) for _ in range(2000))
    workers = [spawn_worker() for _ in range(3)]
    kills = 0

    for share in (400, 900, 1400):

        async def so_many_are_done(share: int = share) -> bool:
            return await _completed(sql) >= share

        await until(so_many_are_done, 60)
        workers[0].signal(signal.SIGKILL)
        await workers.pop(0).exit_code()
        kills += 1
        workers.append(spawn_worker())

    async def all_are_done() -> bool:
        return await _completed(sql) == 2000

    await until(all_are_done, 60)

    starts = Counter(entry["job"] for entry in journal.entries("start"))
    ends = Counter((entry["job"], entry["epoch"]) for entry in journal.entries("end"))
    rows = await sql.fetch("SELECT id, attempts, lease_epoch FROM control_plane.jobs")
    assert len(starts) == 2000
    # A slot is free when its handler has ended; its outcome is durable a commit later, and until then a kill undoes it.
    cut_off = sum(starts.values()) - len(ends)
    assert cut_off <= kills * 8, "more handlers were cut off than slots were killed"
    assert sum(starts.values()) - 2000 <= kills * 8 * 3, "more executions than slots, and outcomes under way"
    assert max(ends.values()) == 1
    # Each call is counted. A job that waited to run alone, or that was handed back for another's sake, was not called.
    assert all(starts[str(row["id"])] <= row["attempts"] <= row["lease_epoch"] for row in rows), "I6"
    recoveries = await sql.fetch(
        """
        SELECT extract(epoch FROM job.started_at - crashed.started_at) AS seconds
        FROM control_plane.job_attempts AS crashed
        JOIN control_plane.jobs AS job ON job.id = crashed.job_id AND job.lease_epoch = crashed.epoch + 1
        WHERE crashed.outcome = 'crashed'
        """
    )
    assert recoveries, "a kill in the middle of the work leaves jobs to recover"
    # Counted from the claim. Heartbeats come every 0.4 s, and these jobs are shorter than one.
    assert max(row["seconds"] for row in recoveries) <= RECOVERY + 0.4


async def test_a_worker_that_was_stopped_and_continued_changes_nothing_that_it_lost(
    queue: JobQueue, sql: Connection, spawn_worker: Spawn, journal: Journal
) -> None:
    made = [await queue.enqueue("work", {"seconds": 1.5}, max_attempts=5) for _ in range(6)]
    sleeper = spawn_worker()

    async def all_started() -> bool:
        return len(journal.entries("start")) == 6

    await until(all_started)
    sleeper.signal(signal.SIGSTOP)
    other = spawn_worker()
    jobs = [await queue.wait(result.id, 30) for result in made]
    before = await sql.fetch("SELECT * FROM control_plane.jobs ORDER BY id")

    sleeper.signal(signal.SIGCONT)

    async def the_sleeper_serves_again() -> bool:
        await queue.enqueue("work", {"marker": "later"})
        later = [entry for entry in journal.entries("start") if entry["marker"] == "later"]
        return any(entry["pid"] == sleeper.pid for entry in later)

    await until(the_sleeper_serves_again)
    after = await sql.fetch(
        "SELECT * FROM control_plane.jobs WHERE id = ANY($1) ORDER BY id", [job.id for job in jobs]
    )
    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert after == before
    assert all(row["lease_epoch"] == 2 for row in after)
    finished_by = {entry["pid"] for entry in journal.entries("end") if entry["epoch"] == 2}
    assert finished_by == {other.pid}


async def test_a_job_that_must_not_run_twice_fails_when_its_worker_is_killed(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    made = await queue.enqueue("once", {"seconds": 30}, max_attempts=1)
    worker = spawn_worker()

    async def it_runs() -> bool:
        return bool(journal.entries("start"))

    await until(it_runs)
    worker.signal(signal.SIGKILL)
    spawn_worker()
    job = await queue.wait(made.id, 20)

    assert job.status is JobStatus.FAILED
    assert job.last_error is not None
    assert job.last_error.startswith("lease lost")
    assert len(journal.entries("start")) == 1


async def test_a_job_of_two_attempts_is_called_twice_though_it_died_in_company(
    queue: JobQueue, spawn_worker: Spawn, journal: Journal
) -> None:
    """I6: the first attempt fails, the second ends with its worker, beside another job that was in hand."""
    company = await queue.enqueue("work", {"seconds": 60}, max_attempts=100)
    made = await queue.enqueue("fail_then_die", {}, max_attempts=2)

    assert await spawn_worker().exit_code() == 137
    spawn_worker()
    job = await queue.wait(made.id, 20)
    await queue.cancel(company.id)

    assert (job.status, job.attempts) == (JobStatus.FAILED, 2)
    assert (job.last_error or "").startswith("lease lost")
    starts = [entry["attempt"] for entry in journal.entries("start") if entry["job"] == str(made.id)]
    assert starts == [1, 2]


async def test_a_job_that_kills_its_worker_runs_out_of_attempts_and_spares_the_others(
    queue: JobQueue, sql: Connection, spawn_worker: Spawn, journal: Journal
) -> None:
    poison = await queue.enqueue("die", {}, max_attempts=2)
    await queue.enqueue_many(new_job("work", {}, {"max_attempts": 10}) for _ in range(50))

    worker = spawn_worker()
    for _ in range(2):
        assert await worker.exit_code() == 137
        worker = spawn_worker()
    job = await queue.wait(poison.id, 20)

    async def the_others_are_done() -> bool:
        return await _completed(sql) == 50

    await until(the_others_are_done)
    assert (job.status, job.attempts) == (JobStatus.FAILED, 2)
    deaths = [entry for entry in journal.entries("start") if entry["job"] == str(poison.id)]
    assert len(deaths) == 2


async def _completed(sql: Connection) -> int:
    return int(await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'completed'"))
