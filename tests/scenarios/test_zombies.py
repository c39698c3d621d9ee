"""Workers that cannot know that time has passed: blocked, or stopped and continued (I5, I8, F3, F4)."""

from __future__ import annotations

import signal
from collections.abc import Callable

from jobplane import JobQueue, JobStatus
from tests.factories import SQL, row_of
from tests.support import Journal, WorkerProcess, until

Spawn = Callable[..., WorkerProcess]
LEASE = 2.0
"""Of the worker processes, in seconds."""


async def test_handlers_that_block_their_worker_beyond_the_lease_keep_their_jobs(
    queue: JobQueue, sql: SQL, spawn_worker: Spawn, journal: Journal
) -> None:
    blocked = spawn_worker(JOBPLANE_QUEUES="default:1")
    await until(lambda: _lives(queue, 1))
    made = await queue.enqueue("block", {"seconds": 2 * LEASE})
    await until(lambda: _count(journal, "start", 1))
    spawn_worker()  # ready to take over what is taken back
    await until(lambda: _lives(queue, 2))

    job = await queue.wait(made.id, 20)

    assert (job.status, job.lease_epoch) == (JobStatus.COMPLETED, 1)
    assert [entry["pid"] for entry in journal.entries("start")] == [blocked.pid]
    assert await sql.fetchval("SELECT count(*) FROM control_plane.job_attempts") == 0
    log = blocked.log.read_text()
    assert "block" in log
    assert "event loop" in log


async def test_what_a_continued_worker_finishes_of_its_lost_jobs_is_refused(
    queue: JobQueue, sql: SQL, spawn_worker: Spawn, journal: Journal
) -> None:
    # The one that blocks the loop comes last: the others have started then, and nothing is written before it ends.
    made = [await queue.enqueue("stubborn_in_thread", {"seconds": 1.0}, max_attempts=5) for _ in range(3)]
    made += [await queue.enqueue("block", {"seconds": 1.0}, max_attempts=5)]
    zombie = spawn_worker()
    await until(lambda: _count(journal, "start", 4))

    zombie.signal(signal.SIGSTOP)  # in the middle of handlers that no cancellation reaches
    successor = spawn_worker()
    ended = [await queue.wait(one.id, 30) for one in made]
    before = [await row_of(sql, one.id) for one in made]
    zombie.signal(signal.SIGCONT)

    await until(lambda: _said(zombie, "lost", 4))
    await until(lambda: _has_ended(journal, zombie.pid))
    assert [await row_of(sql, one.id) for one in made] == before, "accepted stale writes: 0"
    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    assert all(row["lease_epoch"] == 2 for row in before)
    assert {entry["pid"] for entry in journal.entries("end") if entry["epoch"] == 2} == {successor.pid}
    assert zombie.process.poll() is None, "it goes on with other jobs"


async def _lives(queue: JobQueue, count: int) -> bool:
    return len(await queue.list_workers()) == count


async def _count(journal: Journal, event: str, count: int) -> bool:
    return len(journal.entries(event)) >= count


async def _has_ended(journal: Journal, pid: int) -> bool:
    return any(entry["pid"] == pid for entry in journal.entries("end"))


async def _said(worker: WorkerProcess, word: str, times: int) -> bool:
    return worker.log.read_text().count(word) >= times
