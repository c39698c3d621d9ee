"""Outcomes are written in batches, each row for itself, and kept until they can be (F6, F8, F14)."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest

from jobplane import JobContext, JobQueue, JobStatus, Worker, new_job
from jobplane.events import DatabaseRecovered, JobFinished, JobLost, JobsReported, JobStarted, ServiceFailed
from jobplane.retry import Fixed
from tests.factories import SQL, attempts_of, row_of
from tests.faults.proxy import FaultProxy
from tests.proxy import Proxy
from tests.support import Recorder, until


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be cut."""
    async with Proxy(database_url) as proxy:
        yield proxy


async def test_a_completion_whose_answer_was_lost_is_not_taken_for_a_lost_job(
    queue: JobQueue, database_url: str, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None: ...

    async with FaultProxy(database_url) as proxy:
        worker = make_worker(queue, url=proxy.url)
        recorder = Recorder(worker.events, JobsReported, JobLost)
        async with worker:
            proxy.lose_answers("jobplane: job/complete")
            made = await work.enqueue()
            reported = await recorder.wait_for(JobsReported)

    assert proxy.swallowed == 1
    assert [event.ids for event in reported] == [[made.id]]
    assert recorder.of(JobLost) == []


async def test_an_idle_worker_reports_at_once_and_a_busy_one_in_batches(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work() -> None: ...

    worker = make_worker(queue)
    recorder = Recorder(worker.events, JobFinished, JobsReported)

    async with worker:
        lone = await work.enqueue()
        await recorder.wait_for(JobsReported)
        assert [event.ids for event in recorder.of(JobsReported)] == [[lone.id]]

        await queue.enqueue_many(new_job("work", {}) for _ in range(1000))
        await until(lambda: _completed(queue, 1001))

    batches = recorder.of(JobsReported)[1:]
    assert sum(len(event.ids) for event in batches) == 1000
    assert len(batches) < 200


@pytest.mark.parametrize("ending", ["nothing", "result", "failure", "snooze"])
async def test_a_row_that_someone_keeps_locked_holds_up_no_other_outcome_and_gets_its_own_in_the_end(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, ending: str
) -> None:
    finish = asyncio.Event()

    @queue.task(max_attempts=1)
    async def held() -> object:
        await finish.wait()
        if ending == "failure":
            raise ValueError("its own")
        return "kept" if ending == "result" else None

    @queue.task
    async def work() -> None: ...

    locked = await held.enqueue()
    worker = make_worker(queue, lease=30)
    recorder = Recorder(worker.events, JobStarted, JobFinished, JobLost)

    async with worker:
        await recorder.wait_for(JobStarted)
        async with sql.transaction():
            await sql.execute("SELECT FROM control_plane.jobs WHERE id = $1 FOR UPDATE", locked.id)
            finish.set()
            await recorder.wait_for(JobFinished)
            async with asyncio.timeout(4):
                for _ in range(40):
                    made = await work.enqueue()
                    await queue.wait(made.id, 4)
            assert (await row_of(sql, locked.id))["status"] == "running"
        job = await queue.wait(locked.id, 10)

    expected = JobStatus.FAILED if ending == "failure" else JobStatus.COMPLETED
    assert (job.status, job.result) == (expected, "kept" if ending == "result" else None)
    assert job.last_error == ("ValueError: its own" if ending == "failure" else None)
    assert recorder.of(JobLost) == []


async def test_an_outcome_is_kept_while_the_database_is_away(
    queue: JobQueue, make_worker: Callable[..., Worker], proxy: Proxy, sql: SQL
) -> None:
    finish, runs = asyncio.Event(), 0

    @queue.task(max_attempts=3, retry=Fixed(timedelta(0)))
    async def work(number: int) -> int | None:
        nonlocal runs
        runs += 1
        await finish.wait()
        if number == 2:
            raise ValueError
        return number or None

    made = [await work.with_options(max_attempts=1).enqueue(number) for number in range(3)]
    worker = make_worker(queue, url=proxy.url, lease=30)
    recorder = Recorder(worker.events, JobStarted, JobFinished, ServiceFailed, DatabaseRecovered, JobLost)

    async with worker:
        await recorder.wait_for(JobStarted, 3)
        proxy.cut()
        finish.set()
        await recorder.wait_for(JobFinished, 3)
        await recorder.wait_for(ServiceFailed, 5)
        assert await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status = 'running'") == 3
        proxy.heal()
        jobs = [await queue.wait(one.id, 10) for one in made]
        await recorder.wait_for(DatabaseRecovered)

    assert [job.status.value for job in jobs] == ["completed", "completed", "failed"]
    assert jobs[1].result == 1
    assert runs == 3, "no job ran twice"
    assert recorder.of(JobLost) == []


@pytest.mark.parametrize("ending", ["completed", "failed"])
async def test_an_outcome_whose_answer_is_lost_is_written_once_and_the_job_runs_once(
    queue: JobQueue, make_worker: Callable[..., Worker], proxy: Proxy, sql: SQL, ending: str
) -> None:
    finish, runs = asyncio.Event(), 0

    @queue.task(max_attempts=1)
    async def work() -> None:
        nonlocal runs
        runs += 1
        await finish.wait()
        if ending == "failed":
            raise ValueError

    worker = make_worker(queue, url=proxy.url, lease=30)
    recorder = Recorder(worker.events, JobStarted)

    async with worker:
        finish.set()
        for _ in range(4):  # so that every connection has run its statement once
            warm_up = await work.enqueue()
            await queue.wait(warm_up.id, 10)
        finish.clear()
        made = await work.enqueue()
        await recorder.wait_for(JobStarted, 5)
        proxy.lose_answers()
        finish.set()
        job = await queue.wait(made.id, 10)
        proxy.heal()
        proxy.reset()
        after = await work.enqueue()
        await queue.wait(after.id, 10)

    assert (job.status.value, job.lease_epoch, runs) == (ending, 1, 6)
    assert len(await attempts_of(sql, made.id)) == (1 if ending == "failed" else 0)


async def test_a_claim_whose_answer_is_lost_comes_back_by_its_lease_and_runs_once(
    queue: JobQueue, make_worker: Callable[..., Worker], proxy: Proxy, sql: SQL
) -> None:
    epochs: list[int] = []

    @queue.task
    async def work(ctx: JobContext) -> None:
        epochs.append(ctx.epoch)

    async with make_worker(queue, url=proxy.url, lease=2):
        warm_up = await work.enqueue()
        await queue.wait(warm_up.id, 10)
        proxy.lose_answers()
        made = await work.enqueue()
        await until(lambda: _epoch_is(sql, made.id, 1))
        proxy.reset()
        proxy.heal()
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts, epochs) == (JobStatus.COMPLETED, 2, [1, 2])


async def test_an_outcome_that_comes_too_late_is_refused_and_told_as_lost(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    finish = asyncio.Event()

    @queue.task
    async def work() -> str:
        await finish.wait()
        return "too late"

    made = await work.enqueue()
    worker = make_worker(queue, heartbeat_interval=20, lease=60)
    recorder = Recorder(worker.events, JobStarted, JobLost, JobsReported)

    async with worker:
        await recorder.wait_for(JobStarted)
        await sql.execute(
            "UPDATE control_plane.jobs SET lease_epoch = lease_epoch + 1, worker_id = 'another'"
        )
        finish.set()
        (lost,) = await recorder.wait_for(JobLost)

    row = await row_of(sql, made.id)
    assert (row["status"], row["lease_epoch"], row["result"], row["worker_id"]) == (
        "running",
        2,
        None,
        "another",
    )
    assert (lost.claim.id, lost.claim.epoch) == (made.id, 1)
    assert all(made.id not in event.ids for event in recorder.of(JobsReported))


async def _completed(queue: JobQueue, count: int) -> bool:
    return (await queue.count_jobs()).get(JobStatus.COMPLETED, 0) == count


async def _epoch_is(sql: SQL, job_id: object, epoch: int) -> bool:
    found: int = await sql.fetchval("SELECT lease_epoch FROM control_plane.jobs WHERE id = $1", job_id)
    return found == epoch
