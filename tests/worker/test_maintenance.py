"""Maintenance: jobs of dead workers come back, old ones go away, and any number of workers may see to it."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobplane import JobContext, JobQueue, JobStatus, Worker
from jobplane.events import JobsPruned, JobsRescued
from jobplane.sql import load
from tests.factories import SQL, attempts_of, count_jobs, make_job, row_of
from tests.support import SLACK, Recorder, until

EXPIRED = timedelta(seconds=-1)
DAY = timedelta(days=1)


async def test_a_job_of_a_dead_worker_is_taken_back_recorded_and_run_again(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work(ctx: JobContext) -> list[int]:
        return [ctx.attempt, ctx.epoch]

    job_id = await make_job(sql, JobStatus.RUNNING, worker_id="dead", lease_epoch=4, lease_expires_at=EXPIRED)
    worker = make_worker(queue, poll_interval=60)  # so that only the rescuer's notification can wake it
    recorder = Recorder(worker.events, JobsRescued)

    async with worker:
        job = await queue.wait(job_id, 5)

    assert (job.status, job.result) == (JobStatus.COMPLETED, [2, 5])
    assert [list(event.ids) for event in recorder.of(JobsRescued)] == [[job_id]]
    (crash,) = await attempts_of(sql, job_id)
    assert (crash["outcome"], crash["epoch"], crash["attempt"], crash["worker_id"]) == (
        "crashed",
        4,
        1,
        "dead",
    )
    assert crash["message"] == "lease lost: worker dead stopped renewing it"


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({"attempts": 3, "max_attempts": 3}, JobStatus.FAILED),
        ({"attempts": 1, "max_attempts": 1}, JobStatus.FAILED),
        ({"cancel_requested_at": EXPIRED}, JobStatus.CANCELLED),
    ],
    ids=["attempts used up", "at most once", "cancel requested"],
)
async def test_a_job_of_a_dead_worker_that_must_not_run_again_ends_and_says_why(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    sql: SQL,
    columns: dict[str, object],
    status: JobStatus,
) -> None:
    runs: list[int] = []

    @queue.task
    async def work(ctx: JobContext) -> None:
        runs.append(ctx.epoch)

    job_id = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED, **columns)

    async with make_worker(queue):
        job = await queue.wait(job_id, 10)

    assert (job.status, runs) == (status, [])
    assert job.last_error is not None
    assert job.last_error.startswith("lease lost: worker worker-1 stopped renewing it")
    assert job.completed_at is not None


async def test_jobs_whose_leases_hold_and_jobs_without_a_lease_are_left_alone(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def other() -> None: ...

    held = await make_job(sql, JobStatus.RUNNING, lease_expires_at=timedelta(minutes=1))
    adopted = await make_job(sql, JobStatus.RUNNING, lease_expires_at=None, lease_epoch=0)
    expired = await make_job(sql, JobStatus.RUNNING, lease_expires_at=EXPIRED, type="other")

    async with make_worker(queue):
        await queue.wait(expired, 10)

    assert ((await row_of(sql, held))["status"], (await row_of(sql, held))["lease_epoch"]) == ("running", 1)
    assert (await row_of(sql, adopted))["status"] == "running"


async def test_any_number_of_expired_jobs_is_taken_back_once_each_by_several_workers(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    await sql.execute(
        """
        INSERT INTO control_plane.jobs (type, status, attempts, lease_epoch, worker_id, started_at, lease_expires_at)
        SELECT 'work', 'running', 1, 1, 'dead', now(), now() - interval '1 s' FROM generate_series(1, 1700)
        """
    )
    workers = [make_worker(queue) for _ in range(3)]
    recorders = [Recorder(worker.events, JobsRescued) for worker in workers]

    async with workers[0], workers[1], workers[2]:
        await until(lambda: _completed(queue, 1700))

    rescued = [job_id for one in recorders for event in one.of(JobsRescued) for job_id in event.ids]
    assert len(rescued) == len(set(rescued)) == 1700
    assert await sql.fetchval("SELECT count(*) FROM control_plane.job_attempts") == 1700
    assert await sql.fetchval("SELECT max(lease_epoch) FROM control_plane.jobs") == 2


@pytest.mark.parametrize(
    ("status", "setting"),
    [
        (JobStatus.COMPLETED, "keep_completed"),
        (JobStatus.FAILED, "keep_failed"),
        (JobStatus.CANCELLED, "keep_cancelled"),
    ],
)
async def test_each_status_has_a_retention_of_its_own(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, status: JobStatus, setting: str
) -> None:
    made = {
        (each, days): await make_job(sql, each, scheduled_at=-days * DAY, completed_at=-days * DAY)
        for each in (JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED)
        for days in (1, 3)
    }
    keep: dict[str, object] = {"keep_completed": 9e6, "keep_failed": 9e6, "keep_cancelled": 9e6}
    worker = make_worker(queue, **{**keep, setting: 2 * 86400})
    recorder = Recorder(worker.events, JobsPruned)

    async with worker:
        (pruned,) = await recorder.wait_for(JobsPruned)

    left = {job_id for (job_id,) in await sql.fetch("SELECT id FROM control_plane.jobs")}
    assert pruned.count == 1
    assert left == set(made.values()) - {made[status, 3]}


async def test_pruning_takes_any_number_with_their_history_and_leaves_what_is_unfinished(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    long_ago = -400 * DAY
    pending = await make_job(sql, scheduled_at=long_ago, type="unknown")
    running = await make_job(sql, JobStatus.RUNNING, scheduled_at=long_ago)
    failed = await make_job(sql, JobStatus.FAILED, scheduled_at=long_ago, completed_at=long_ago)
    recent = await make_job(sql, JobStatus.FAILED, scheduled_at=long_ago)
    await sql.execute(
        "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 1, 1, 'failed')",
        failed,
    )
    await sql.execute(
        """
        INSERT INTO control_plane.jobs (type, status, scheduled_at, completed_at)
        SELECT 'work', 'completed', now() - interval '9 days', now() - interval '8 days' FROM generate_series(1, 2500)
        """
    )
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobsPruned)

    async with worker:
        (pruned,) = await recorder.wait_for(JobsPruned)

    assert pruned.count == 2501
    assert {row["id"] for row in await sql.fetch("SELECT id FROM control_plane.jobs")} == {
        pending,
        running,
        recent,
    }
    assert await sql.fetchval("SELECT count(*) FROM control_plane.job_attempts") == 0


async def test_pruning_is_the_duty_of_one_worker_at_a_time(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    await sql.execute("UPDATE control_plane.duties SET due_at = now() + interval '50 s' WHERE name = 'prune'")
    await make_job(sql, JobStatus.COMPLETED, scheduled_at=-400 * DAY, completed_at=-400 * DAY)

    async with make_worker(queue) as worker:
        await until(lambda: _beats(sql, worker.id))
        await until(lambda: _swept_by(sql, worker.id))

    assert await count_jobs(sql) == 1


async def test_a_duty_that_is_due_too_far_ahead_after_a_clock_was_set_back_is_done_now(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    await sql.execute("UPDATE control_plane.duties SET due_at = now() + interval '1 day'")
    await make_job(sql, JobStatus.COMPLETED, scheduled_at=-400 * DAY, completed_at=-400 * DAY)
    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobsPruned)

    async with worker:
        await recorder.wait_for(JobsPruned)

    assert await count_jobs(sql) == 0


async def test_workers_that_died_long_ago_are_forgotten(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    await sql.execute(
        """
        INSERT INTO control_plane.workers (id, host, pid, version, heartbeat_at) VALUES
            ('long dead', 'h', 1, '0', now() - interval '25 hours'),
            ('just dead', 'h', 2, '0', now() - interval '23 hours')
        """
    )

    async with make_worker(queue) as worker:
        await until(lambda: _workers_are(sql, {"just dead", worker.id}))


SHORT_LEASE = 3 * 0.2 * SLACK


async def test_nothing_is_rescued_while_heartbeats_and_sweeps_race(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    finish = asyncio.Event()

    @queue.task
    async def work() -> None:
        await finish.wait()

    for _ in range(20):
        await work.enqueue()
    # A lease of three heartbeats, for a worker that is given the processor in time, and sweeps as often as can be.
    workers = [
        make_worker(queue, heartbeat_interval=0.2, lease=SHORT_LEASE, sweep_interval=0.05) for _ in range(2)
    ]

    async with workers[0], workers[1]:
        await until(lambda: _renewed_often(sql))
        finish.set()
        await until(lambda: _completed(queue, 20))

    assert await sql.fetchval("SELECT max(lease_epoch) FROM control_plane.jobs") == 1


async def _completed(queue: JobQueue, count: int) -> bool:
    return (await queue.count_jobs()).get(JobStatus.COMPLETED, 0) == count


async def _beats(sql: SQL, worker_id: str) -> bool:
    found: int = await sql.fetchval("SELECT count(*) FROM control_plane.workers WHERE id = $1", worker_id)
    return found == 1


async def _swept_by(sql: SQL, worker_id: str) -> bool:
    last: str | None = await sql.fetchval(
        "SELECT last_worker_id FROM control_plane.duties WHERE name = 'rescue'"
    )
    return last == worker_id


async def _workers_are(sql: SQL, expected: set[str]) -> bool:
    return {row["id"] for row in await sql.fetch("SELECT id FROM control_plane.workers")} == expected


async def _renewed_often(sql: SQL) -> bool:
    longest: bool | None = await sql.fetchval(
        "SELECT bool_and(lease_expires_at > started_at + $1::interval) FROM control_plane.jobs",
        timedelta(seconds=SHORT_LEASE + 10 * 0.2),
    )
    return bool(longest)


async def test_transitions_past_their_retention_are_pruned_too(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    await sql.execute(load("history/on").numbered)
    for age in (3, 1):
        job_id = await make_job(sql)
        await sql.execute(
            "UPDATE control_plane.job_events SET at = now() - $2 * interval '1 day' WHERE job_id = $1",
            job_id,
            age,
        )
    worker = make_worker(queue, keep_history=2 * DAY.total_seconds())

    async with worker:
        await until(lambda: sql.fetchval("SELECT count(*) = 1 FROM control_plane.job_events"))

    assert await sql.fetchval("SELECT min(at) > now() - interval '2 days' FROM control_plane.job_events")
