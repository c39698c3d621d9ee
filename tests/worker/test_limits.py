"""Workers on queues with a limit: it holds over all of them, and costs no poll interval a job (I14, I16)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from jobplane import JobQueue, JobStatus, Worker, new_job
from jobplane.events import JobsClaimed, JobStarted
from tests.factories import SQL
from tests.support import SLACK, Recorder, until

RARE_POLLS: dict[str, object] = {"poll_interval": 30}


async def _all_completed(queue: JobQueue, count: int) -> bool:
    return (await queue.count_jobs()).get(JobStatus.COMPLETED, 0) == count


async def test_two_workers_together_run_no_more_jobs_than_the_limit(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running = most = 0

    @queue.task
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    await queue.limit_queue("default", 3)
    await queue.enqueue_many(new_job("work", {}) for _ in range(120))

    async with make_worker(queue, **RARE_POLLS), make_worker(queue, **RARE_POLLS):
        await until(lambda: _all_completed(queue, 120))

    assert most == 3


async def test_a_limited_queue_goes_on_without_polls(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    """With polls alone it would take 50 times 30 s."""

    @queue.task
    async def work() -> None: ...

    await queue.limit_queue("default", 1)
    await queue.enqueue_many(new_job("work", {}) for _ in range(50))

    async with make_worker(queue, **RARE_POLLS), make_worker(queue, **RARE_POLLS):
        await until(lambda: _all_completed(queue, 50), timeout=15)


async def test_a_worker_that_cannot_use_the_slot_itself_wakes_one_that_can(
    queue: JobQueue, make_worker: Callable[..., Worker], database_url: str
) -> None:
    other_queue = JobQueue(database_url)

    @queue.task
    async def work() -> None:
        await asyncio.sleep(0.3)

    @other_queue.task
    async def rare() -> None: ...

    await queue.limit_queue("default", 1)
    one, other = make_worker(queue, **RARE_POLLS), make_worker(other_queue, **RARE_POLLS)
    started = Recorder(one.events, JobStarted)
    async with one, other:
        await work.enqueue()
        await started.wait_for(JobStarted)
        waiting = await rare.enqueue()

        job = await queue.wait(waiting.id, 10)

    assert job.status is JobStatus.COMPLETED
    await other_queue.close()


async def test_nothing_is_claimed_ahead_of_a_limit(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None: ...

    await queue.limit_queue("default", 1000)
    await queue.enqueue_many(new_job("work", {}) for _ in range(300))
    worker = make_worker(queue, queues="default:4", prefetch=5)
    recorder = Recorder(worker.events, JobsClaimed)

    async with worker:
        await until(lambda: _all_completed(queue, 300))

    assert max(len(event.claims) for event in recorder.of(JobsClaimed)) <= 4


async def test_a_limit_that_is_set_changed_and_lifted_under_load_holds_from_the_next_claim_on(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    release = asyncio.Event()

    @queue.task
    async def work() -> None:
        await release.wait()

    async def running(count: int) -> None:
        async def so_many() -> bool:
            now = await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'running'")
            return int(now) == count

        await until(so_many)

    await queue.enqueue_many(new_job("work", {}) for _ in range(20))
    async with make_worker(queue, queues="default:8", **RARE_POLLS):
        await running(8)
        await queue.limit_queue("default", 3)
        assert await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'running'") == 8
        release.set()
        release.clear()
        await running(3)
        await queue.limit_queue("default", 5)
        await running(5)
        await queue.limit_queue("default", None)
        await running(8)
        release.set()
        await until(lambda: _all_completed(queue, 20))


async def test_a_limit_is_obeyed_also_by_a_worker_that_did_not_hear_of_it(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """As with a dead LISTEN: it learns of the limit when a claim comes back empty."""
    running = most = 0

    @queue.task
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    async with make_worker(queue, poll_interval=0.1) as worker:
        await queue.wait((await work.enqueue()).id, 10)
        await sql.execute("INSERT INTO control_plane.queues (name, max_running) VALUES ('default', 2)")
        most = 0

        await queue.enqueue_many(new_job("work", {}) for _ in range(40))
        await until(lambda: _all_completed(queue, 41))

    assert most == 2
    assert worker.running_jobs() == []


async def test_a_dead_workers_slot_is_free_as_soon_as_its_job_is_rescued(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """I16 with n = 1; nothing but the rescuer's notification wakes the claimer."""

    @queue.task
    async def work() -> None: ...

    await queue.limit_queue("default", 1)
    dead = await work.enqueue()
    waiting = await work.enqueue()
    await sql.execute(
        "UPDATE control_plane.jobs SET status = 'running', attempts = 1, lease_epoch = 1, worker_id = 'dead', "
        "started_at = now(), lease_expires_at = now() + interval '1 s' WHERE id = $1",
        dead.id,
    )
    began = time.monotonic()

    async with make_worker(queue, **RARE_POLLS):
        jobs = [await queue.wait(job.id, 10) for job in (dead, waiting)]

    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 2
    assert jobs[0].completed_at is not None
    assert jobs[1].started_at is not None
    assert jobs[0].completed_at <= jobs[1].started_at, "the order holds through the rescue"
    assert time.monotonic() - began < (1 + 0.5) * SLACK, "the lease, and a sweep"
