"""Queues live side by side: own limits, pausing, and jobs that nobody here can run (I18, I22)."""

import asyncio
from collections.abc import Callable

from jobplane import JobQueue, JobStatus, Registry, Worker
from jobplane.events import JobFinished
from tests.factories import SQL, make_job, row_of
from tests.support import Recorder, until


async def test_a_queue_that_is_stuck_does_not_keep_another_from_running(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    stuck, release = asyncio.Semaphore(0), asyncio.Event()

    @queue.task(queue="slow")
    async def slow() -> None:
        stuck.release()
        await release.wait()

    @queue.task(queue="quick")
    async def quick() -> None: ...

    flood = [await slow.enqueue() for _ in range(50)]

    async with make_worker(queue, queues="slow:2,quick:1"):
        await stuck.acquire()
        await stuck.acquire()
        for _ in range(5):
            made = await quick.enqueue()
            assert (await queue.wait(made.id, 5)).status is JobStatus.COMPLETED
        assert (await queue.count_jobs())[JobStatus.RUNNING] == 2
        release.set()
        for one in flood:
            await queue.wait(one.id, 10)


async def test_a_worker_leaves_queues_alone_that_it_does_not_serve(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    elsewhere = await work.with_options(queue="elsewhere").enqueue()
    here = await work.enqueue()

    async with make_worker(queue):
        await queue.wait(here.id, 10)

    row = await row_of(sql, elsewhere.id)
    assert (row["status"], row["attempts"]) == ("pending", 0)


async def test_a_paused_queue_is_not_claimed_from_until_it_is_resumed(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    running, go_on = asyncio.Event(), asyncio.Event()

    @queue.task
    async def long() -> None:
        running.set()
        await go_on.wait()

    @queue.task
    async def work() -> None: ...

    @queue.task(queue="other")
    async def other() -> None: ...

    async with make_worker(queue, queues="default:2,other:2"):
        started = await long.enqueue()
        await running.wait()

        await queue.pause_queue("default")
        paused = await work.enqueue()
        elsewhere = await other.enqueue()
        await queue.wait(elsewhere.id, 10)
        go_on.set()
        assert (await queue.wait(started.id, 10)).status is JobStatus.COMPLETED, "what runs goes on"
        row = await row_of(sql, paused.id)
        assert (row["status"], row["attempts"]) == ("pending", 0)

        await queue.resume_queue("default")
        assert (await queue.wait(paused.id, 10)).status is JobStatus.COMPLETED


async def test_resuming_wakes_the_workers_at_once(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None: ...

    worker = make_worker(queue, poll_interval=60)
    await queue.pause_queue("default")
    made = await work.enqueue()

    async with worker:
        await until(lambda: _is_known(queue, worker.id))
        await queue.resume_queue("default")
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.COMPLETED


async def test_a_type_that_this_worker_does_not_know_waits_untouched_and_shows_as_unclaimable(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def known() -> None: ...

    unknown = [await queue.enqueue("from_the_next_release", max_attempts=1) for _ in range(3)]
    expired = await make_job(sql, JobStatus.RUNNING, type="from_the_next_release", lease_expires_at=None)
    await sql.execute(
        "UPDATE control_plane.jobs SET lease_expires_at = now() - interval '1 s' WHERE id = $1", expired
    )

    async with make_worker(queue):
        for _ in range(5):
            made = await known.enqueue()
            await queue.wait(made.id, 10)
        await until(lambda: _status_is(sql, expired, "pending"))
        shown = await until(queue.list_unclaimable)

    for one in unknown:
        row = await row_of(sql, one.id)
        assert (row["status"], row["attempts"], row["lease_epoch"], row["last_error"]) == (
            "pending",
            0,
            0,
            None,
        )
    assert [(entry.queue, entry.type) for entry in shown] == [("default", "from_the_next_release")]
    assert shown[0].jobs in {3, 4}


async def test_a_worker_without_tasks_claims_nothing(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    waiting = await queue.enqueue("work")

    @queue.task
    async def other() -> None: ...

    idle, busy = make_worker(Registry()), make_worker(queue)
    recorder = Recorder(idle.events, JobFinished)

    async with idle, busy:
        made = await other.enqueue()
        await queue.wait(made.id, 10)

    assert (await row_of(sql, waiting.id))["status"] == "pending"
    assert recorder.of(JobFinished) == []


async def test_a_new_worker_takes_up_the_types_that_an_old_one_left(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    old, new = JobQueue(settings=queue.settings), JobQueue(settings=queue.settings)

    @old.task(name="first")
    async def first_of_old() -> str:
        return "old"

    @new.task(name="first")
    async def first_of_new() -> str:
        return "new"

    @new.task
    async def second() -> str:
        return "new"

    async with old, new, make_worker(old):
        early = await queue.enqueue("second")
        done_by_old = await queue.wait((await first_of_old.enqueue()).id, 10)
        async with make_worker(new):
            taken_up = await queue.wait(early.id, 10)

    assert done_by_old.result == "old"
    assert (taken_up.result, taken_up.attempts) == ("new", 1)


async def _is_known(queue: JobQueue, worker_id: str) -> bool:
    return any(info.id == worker_id for info in await queue.list_workers())


async def _status_is(sql: SQL, job_id: object, status: str) -> bool:
    found: str = await sql.fetchval("SELECT status FROM control_plane.jobs WHERE id = $1", job_id)
    return found == status
