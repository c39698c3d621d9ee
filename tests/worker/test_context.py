"""What a handler learns of its job, and what it says of its progress."""

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobplane import InvalidInputError, JobContext, JobQueue, JobStatus, Worker
from jobplane.retry import Fixed
from tests.factories import SQL, row_of
from tests.support import until

NOW = Fixed(timedelta(0))


async def test_the_context_shows_the_job_and_the_attempt(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    seen: list[JobContext] = []

    @queue.task(max_attempts=4, retry=NOW, timeout=60)
    async def work(ctx: JobContext, name: str) -> None:
        seen.append(ctx)
        if ctx.attempt == 1:
            raise ValueError(name)

    made = await work.with_options(tags=["a", "b"], priority=7, unique_key="only one").enqueue("Ada")

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    first, second = seen
    assert (first.attempt, first.epoch, first.max_attempts) == (1, 1, 4)
    assert (second.attempt, second.epoch, second.max_attempts) == (2, 2, 4)
    job = second.job
    assert (job.id, job.type, job.status, job.attempts) == (made.id, "work", JobStatus.RUNNING, 2)
    assert (job.queue, job.priority, job.unique_key, job.tags) == ("default", 7, "only one", ("a", "b"))
    assert job.payload == {"name": "Ada", "priority": 7}
    assert job.created_at == made.created_at
    assert job.started_at is not None
    assert not second.cancelled


async def test_the_deadline_is_the_time_that_is_left(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    left: dict[str, timedelta | None] = {}

    @queue.task(timeout=60)
    async def limited(ctx: JobContext) -> None:
        left["task's"] = ctx.deadline

    @queue.task
    def unlimited(ctx: JobContext) -> None:
        left["worker's"] = ctx.deadline

    made = [await limited.enqueue(), await unlimited.enqueue()]

    async with make_worker(queue, timeout=None):
        for one in made:
            await queue.wait(one.id, 10)

    assert left["worker's"] is None
    deadline = left["task's"]
    assert deadline is not None
    assert timedelta(seconds=50) < deadline <= timedelta(seconds=60)


async def test_log_records_of_a_handler_carry_its_job(
    queue: JobQueue, make_worker: Callable[..., Worker], caplog: pytest.LogCaptureFixture
) -> None:
    @queue.task
    async def work(ctx: JobContext) -> None:
        ctx.logger.info("half way")

    made = await work.enqueue()

    with caplog.at_level(logging.INFO, "jobplane.job"):
        async with make_worker(queue):
            await queue.wait(made.id, 10)

    (record,) = [record for record in caplog.records if record.message == "half way"]
    assert vars(record)["job_id"] == str(made.id)
    assert (vars(record)["job_type"], vars(record)["attempt"]) == ("work", 1)


async def test_progress_is_written_while_the_handler_runs(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    go_on = asyncio.Event()

    @queue.task
    async def work(ctx: JobContext) -> None:
        for step in range(5):
            ctx.progress(step / 8, f"step {step}", rows=step * 100)
        await go_on.wait()

    made = await work.enqueue()

    async with make_worker(queue):
        await until(lambda: _has_progress(sql, made.id), timeout=2)
        row = await row_of(sql, made.id)
        go_on.set()
        await queue.wait(made.id, 10)

    assert row["status"] == "running"
    assert json.loads(row["progress"]) == {"fraction": 0.5, "message": "step 4", "rows": 400}


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_progress_reported_just_before_the_end_is_kept(
    queue: JobQueue, make_worker: Callable[..., Worker], colour: str
) -> None:
    @queue.task
    async def on_loop(ctx: JobContext) -> None:
        ctx.progress(1, "done")

    @queue.task
    def in_thread(ctx: JobContext) -> str:
        ctx.progress(1, "done")
        return "a result"

    made = [await (on_loop if colour == "async" else in_thread).enqueue() for _ in range(20)]

    async with make_worker(queue):
        jobs = [await queue.wait(one.id, 10) for one in made]

    assert [job.progress for job in jobs] == [{"fraction": 1.0, "message": "done"}] * 20


async def test_an_attempt_sees_what_the_last_one_reported(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    seen: list[object] = []

    @queue.task(max_attempts=3, retry=NOW)
    async def work(ctx: JobContext) -> None:
        seen.append(ctx.last_progress())
        ctx.progress(ctx.attempt / 4, f"try {ctx.attempt}", cursor=[ctx.attempt])
        if ctx.attempt < 3:
            raise OSError

    made = await work.enqueue()

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    assert seen == [
        None,
        {"fraction": 0.25, "message": "try 1", "cursor": [1]},
        {"fraction": 0.5, "message": "try 2", "cursor": [2]},
    ]


@pytest.mark.parametrize(
    ("fraction", "message"),
    [(-0.1, ""), (1.1, ""), (float("nan"), ""), (0.5, "x" * 5000), (0.5, "NUL \x00"), (0.5, "\ud800")],
    ids=["negative", "above one", "nan", "too large", "NUL", "surrogate"],
)
async def test_progress_that_cannot_be_kept_is_an_error_in_the_handler(
    queue: JobQueue, make_worker: Callable[..., Worker], fraction: float, message: str
) -> None:
    refused: list[str] = []

    @queue.task
    async def work(ctx: JobContext) -> str:
        try:
            ctx.progress(fraction, message)
        except InvalidInputError as error:
            refused.append(error.field)
        return "went on"

    made = await work.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.result, job.progress) == ("went on", None)
    assert refused == ["fraction" if message == "" else "progress"]


async def test_a_locked_row_delays_its_own_progress_and_that_of_no_other(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    report, go_on = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work(ctx: JobContext) -> None:
        await report.wait()
        ctx.progress(0.5)
        await go_on.wait()

    locked, free = await work.enqueue(), await work.enqueue()
    worker = make_worker(queue)

    async with worker:
        await until(lambda: _two_run(worker))
        async with sql.transaction():
            await sql.execute("UPDATE control_plane.jobs SET tags = '{}' WHERE id = $1", locked.id)
            report.set()
            await until(lambda: _has_progress(sql, free.id))
            assert (await row_of(sql, locked.id))["progress"] is None
        await until(lambda: _has_progress(sql, locked.id))
        go_on.set()
        await queue.wait(locked.id, 10)


async def _two_run(worker: Worker) -> bool:
    return len(worker.running_jobs()) == 2


async def _has_progress(sql: SQL, job_id: object) -> bool:
    written: bool = await sql.fetchval(
        "SELECT progress IS NOT NULL FROM control_plane.jobs WHERE id = $1", job_id
    )
    return written
