"""Jobs start soon after they are due, in order, and never more at once than a queue allows (I13, I14, I16)."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from jobplane import JobQueue, JobStatus, Worker, new_job
from jobplane.events import JobsClaimed, JobStarted, ServiceFailed
from tests.factories import SQL, make_job, row_of
from tests.support import SLACK, Recorder, until

RARE_POLLS = {"poll_interval": 60}
NOTIFIED = 0.2
"""Seconds from the commit of a job to its start, at most, in an idle worker that listens."""


async def test_an_idle_worker_starts_a_job_long_before_its_next_poll(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> float:
        return time.monotonic()

    worker = make_worker(queue, **RARE_POLLS)
    warm_up = await work.enqueue()

    async with worker:
        await queue.wait(warm_up.id, 10)
        delays = []
        for _ in range(5):
            before = time.monotonic()
            made = await work.enqueue()
            started = (await queue.wait(made.id, 10)).result
            assert isinstance(started, float)
            delays.append(started - before)

    assert max(delays) < NOTIFIED * SLACK


async def test_a_plain_insert_without_notification_starts_within_the_poll_interval(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    worker = make_worker(queue, poll_interval=0.3)
    recorder = Recorder(worker.events, JobStarted)
    async with worker:
        warm_up = await work.enqueue()
        await queue.wait(warm_up.id, 10)

        before = time.monotonic()
        job_id = await make_job(sql)
        await recorder.wait_for(JobStarted, 2)
        delay = time.monotonic() - before
        await queue.wait(job_id, 10)

    assert delay < 0.3 * 1.1 * SLACK


async def test_the_sql_function_wakes_workers_at_the_callers_commit(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> str:
        return "from SQL"

    async with make_worker(queue, **RARE_POLLS):
        warm_up = await work.enqueue()
        await queue.wait(warm_up.id, 10)

        job_id: UUID = await sql.fetchval("SELECT control_plane.enqueue_job('work')")
        job = await queue.wait(UUID(int=job_id.int), 5)

    assert job.result == "from SQL"


async def test_no_job_starts_before_it_is_due_by_the_databases_clock(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    made = [await work.with_options(delay=0.1 * number).enqueue() for number in range(8)]
    later = await work.with_options(scheduled_at=datetime.now(UTC) + timedelta(hours=1)).enqueue()

    async with make_worker(queue, poll_interval=0.02):
        for one in made:
            await queue.wait(one.id, 10)

    early = await sql.fetchval(
        "SELECT count(*) FROM control_plane.jobs WHERE started_at < scheduled_at OR started_at IS NULL AND id <> $1",
        later.id,
    )
    assert early == 0
    waiting = await queue.get_job(later.id)
    assert waiting is not None
    assert (waiting.status, waiting.attempts) == (JobStatus.PENDING, 0)


async def test_a_queue_never_runs_more_jobs_at_once_than_its_limit(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running = most = 0

    @queue.task
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1

    await queue.enqueue_many(new_job("work", {}) for _ in range(200))

    async with make_worker(queue, queues="default:3"):
        await until(lambda: _all_completed(queue, 200))

    assert most == 3


async def test_without_prefetch_a_worker_holds_no_more_jobs_than_it_runs(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None: ...

    await queue.enqueue_many(new_job("work", {}) for _ in range(100))
    worker = make_worker(queue, queues="default:4", prefetch=0)
    recorder = Recorder(worker.events, JobsClaimed)

    async with worker:
        await until(lambda: _all_completed(queue, 100))

    assert max(len(event.claims) for event in recorder.of(JobsClaimed)) == 4


async def test_a_busy_queue_claims_ahead_and_so_asks_less_often(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None: ...

    await queue.enqueue_many(new_job("work", {}) for _ in range(2000))
    worker = make_worker(queue, queues="default:4", prefetch=0.1)
    recorder = Recorder(worker.events, JobsClaimed)

    async with worker:
        await until(lambda: _all_completed(queue, 2000))

    assert len(recorder.of(JobsClaimed)) < 2000 / 4 / 2


async def test_a_full_worker_asks_again_as_soon_as_a_slot_is_free(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None:
        await asyncio.sleep(0)

    await queue.enqueue_many(new_job("work", {}) for _ in range(50))

    async with make_worker(queue, queues="default:1", prefetch=0, **RARE_POLLS):
        await until(lambda: _all_completed(queue, 50), timeout=10)


async def test_jobs_of_one_queue_start_by_priority_then_due_time(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    order: list[str] = []

    @queue.task
    async def work(name: str) -> None:
        order.append(name)

    due = datetime.now(UTC) - timedelta(minutes=1)
    made = [
        await work.with_options(priority=priority, scheduled_at=due + timedelta(seconds=second)).enqueue(name)
        for name, priority, second in [
            ("low, late", 0, 9),
            ("low, early", 0, 1),
            ("high, late", 5, 9),
            ("top", 1000, 5),
            ("high, early", 5, 1),
        ]
    ]

    async with make_worker(queue, queues="default:1", prefetch=0):
        for one in made:
            await queue.wait(one.id, 10)

    assert order == ["top", "high, early", "high, late", "low, early", "low, late"]


async def test_two_workers_share_a_queue_and_run_each_job_once(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    runs: list[int] = []

    @queue.task
    async def work(number: int) -> None:
        runs.append(number)
        await asyncio.sleep(0.001)

    await queue.enqueue_many(work.new(number) for number in range(400))
    first, second = make_worker(queue, queues="default:4"), make_worker(queue, queues="default:4")

    async with first, second:
        await until(lambda: _all_completed(queue, 400))

    assert sorted(runs) == list(range(400))
    assert await sql.fetchval("SELECT max(lease_epoch) FROM control_plane.jobs") == 1
    workers = await sql.fetchval("SELECT count(DISTINCT worker_id) FROM control_plane.jobs")
    assert workers == 2


async def test_a_row_that_someone_keeps_locked_is_passed_over(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    locked, free = await work.enqueue(), await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, ServiceFailed)

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", locked.id)
        async with worker:
            await queue.wait(free.id, 10)
            assert (await row_of(sql, locked.id))["status"] == "pending"

    assert recorder.of(ServiceFailed) == []


async def _all_completed(queue: JobQueue, count: int) -> bool:
    return (await queue.count_jobs()).get(JobStatus.COMPLETED, 0) == count
