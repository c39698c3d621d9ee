"""The public API as users write it. Type-checked by mypy --strict, never run.

A line that must be an error carries a `type: ignore` with its code; strict mode reports one that is not needed,
so each of them is proof that the error is found.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import assert_type
from uuid import UUID

import asyncpg
import psycopg
from sqlalchemy.orm import Session

from jobplane import (
    Attempt,
    Cancel,
    CancelResult,
    EnqueueJobResult,
    Exponential,
    Fail,
    Fixed,
    Job,
    JobContext,
    JobCounts,
    JobPage,
    JobPayload,
    JobQueue,
    JobQueueOptions,
    JobStatus,
    JobType,
    JSONValue,
    Missed,
    NewJob,
    QueueInfo,
    Registry,
    Retry,
    ScheduleChange,
    ScheduleInfo,
    Snooze,
    SyncJobQueue,
    Unclaimable,
    Worker,
    WorkerInfo,
    WorkerSettings,
    default_queue,
    enqueue_job,
    get_job,
    new_job,
    schedule_job,
    task,
)

queue = JobQueue("postgresql://localhost/app", options={"queue": "mail"})
due = datetime(2030, 1, 1, tzinfo=UTC)
an_id = UUID(int=1)


# -- the seed's functions -----------------------------------------------------------------------------


async def functions() -> None:
    payload: JobPayload = {"project_id": "p", "tags": ["a", None, 1.5], "nested": {"deep": [True]}}
    assert_type(await enqueue_job("provision_project", {"project_id": "p"}), EnqueueJobResult)
    assert_type(
        await enqueue_job(JobType.ROTATE_KEY, payload, delay=30, priority=5, max_attempts=7), EnqueueJobResult
    )
    assert_type(await enqueue_job("rotate_key", delay=timedelta(minutes=1), tags=["x"]), EnqueueJobResult)
    assert_type(await schedule_job("rotate_key", due, {"a": 1}, unique_key="k"), EnqueueJobResult)
    assert_type(await get_job(an_id), Job | None)
    assert_type(default_queue(), JobQueue)

    await enqueue_job(7)  # type: ignore[arg-type]
    await enqueue_job("t", [1])  # type: ignore[arg-type]
    await enqueue_job("t", {"a": object()})  # type: ignore[dict-item]
    await enqueue_job("t", priority="high")  # type: ignore[arg-type]
    await enqueue_job("t", prioritaet=1)  # type: ignore[call-arg]
    await schedule_job("t", "tomorrow")  # type: ignore[arg-type]
    await schedule_job("t", due, delay=5)  # type: ignore[call-arg]
    await get_job("not a uuid")  # type: ignore[arg-type]


# -- a job, and what is told about it -----------------------------------------------------------------


async def reading(job: Job, result: EnqueueJobResult) -> None:
    assert_type(job.id, UUID)
    assert_type(job.payload, Mapping[str, JSONValue])
    assert_type(job.status, JobStatus)
    assert_type(job.last_error, str | None)
    assert_type(job.completed_at, datetime | None)
    assert_type(job.tags, tuple[str, ...])
    assert_type(job.result, JSONValue)
    assert_type(result.existing, bool)
    assert_type(await queue.list_jobs(status="failed", limit=10), JobPage)
    assert_type(await queue.list_jobs(status=JobStatus.FAILED, cursor=None), JobPage)
    assert_type(await queue.list_attempts(job.id), list[Attempt])
    assert_type(await queue.wait(job.id, timeout=timedelta(seconds=5)), Job)
    assert_type(await queue.wait(job.id, 5), Job)
    assert_type(await queue.count_jobs(), JobCounts)
    assert_type(await queue.list_queues(), list[QueueInfo])
    assert_type(await queue.list_workers(), list[WorkerInfo])
    assert_type(await queue.list_unclaimable(), list[Unclaimable])
    assert_type(await queue.cancel(job.id), CancelResult)
    await queue.retry(job.id, extra_attempts=2)

    job.status = JobStatus.FAILED  # type: ignore[misc]
    job.payload["a"] = 1  # type: ignore[index]
    await queue.wait("x")  # type: ignore[arg-type]


# -- tasks --------------------------------------------------------------------------------------------


@queue.task
async def greet(name: str, times: int = 1) -> str:
    return name * times


@queue.task(name="send-mail", queue="mail", priority=5, retry=Fixed(timedelta(minutes=5)), timeout=30)
def send(ctx: JobContext, to: str, *, urgent: bool = False) -> int | Snooze | Cancel | Fail | Retry:
    assert_type(ctx.job, Job)
    assert_type(ctx.attempt, int)
    assert_type(ctx.cancelled, bool)
    assert_type(ctx.deadline, timedelta | None)
    ctx.progress(0.5, "half", to=to)
    return Snooze(timedelta(minutes=1)) if urgent else 1


@task
def on_the_default_queue(numbers: Sequence[int]) -> int:
    return sum(numbers)


class Mailer:
    @queue.task
    async def send(self, ctx: JobContext, to: str) -> str:
        return f"{to} {ctx.attempt}"

    @queue.task(max_attempts=5)
    def count(self, box: str, least: int = 0) -> int:
        return len(box) + least

    @queue.task
    def sweep(self) -> None: ...


async def tasks() -> None:
    assert_type(await greet.enqueue("Ann"), EnqueueJobResult)
    assert_type(await greet.enqueue("Ann", times=3), EnqueueJobResult)
    assert_type(await greet("Ann", 2), str)
    assert_type(greet.new("Ann"), NewJob)
    assert_type(greet.enqueue_sync("Ann"), EnqueueJobResult)
    assert_type(await send.enqueue("ann@example.com", urgent=True), EnqueueJobResult)
    assert_type(await on_the_default_queue.enqueue([1, 2]), EnqueueJobResult)
    assert_type(await greet.with_options(delay=30, priority=1, queue="q").enqueue("Ann"), EnqueueJobResult)
    assert_type(greet.with_options(unique_key="k").new("Ann", 2), NewJob)

    await greet.enqueue(7)  # type: ignore[arg-type]
    await greet.enqueue()  # type: ignore[call-arg]
    await greet.enqueue("Ann", tims=3)  # type: ignore[call-arg]
    await greet.enqueue("Ann", "three")  # type: ignore[arg-type]
    await greet.with_options(delay=30).enqueue(7)  # type: ignore[arg-type]
    await greet.with_options(dely=30).enqueue("Ann")  # type: ignore[call-arg]
    await send.enqueue("x", urgent=1)  # type: ignore[arg-type]
    await send.enqueue("x", True)  # type: ignore[call-arg]
    await on_the_default_queue.enqueue(["a"])  # type: ignore[list-item]
    greet.new(7)  # type: ignore[arg-type]


async def the_context_is_not_an_argument_of_enqueue(ctx: JobContext) -> None:
    assert_type(send(ctx, "x"), int | Snooze | Cancel | Fail | Retry)
    await send.enqueue(ctx, "x")  # type: ignore[call-arg, arg-type]
    send("x")  # type: ignore[call-arg, arg-type]


async def methods(mailer: Mailer, ctx: JobContext) -> None:
    assert_type(await mailer.send.enqueue("you"), EnqueueJobResult)
    assert_type(await mailer.send(ctx, "you"), str)
    assert_type(await mailer.count.enqueue("inbox", least=3), EnqueueJobResult)
    assert_type(mailer.count("inbox"), int)
    assert_type(await mailer.sweep.enqueue(), EnqueueJobResult)
    assert_type(await mailer.count.with_options(priority=1).enqueue("inbox"), EnqueueJobResult)

    await mailer.send.enqueue(7)  # type: ignore[arg-type]
    await mailer.send.enqueue(ctx, "you")  # type: ignore[call-arg, arg-type]
    await mailer.count.enqueue()  # type: ignore[call-arg]
    await mailer.sweep.enqueue(1)  # type: ignore[call-arg]


@queue.task(retries=5)  # type: ignore[call-overload, untyped-decorator]
def mistyped_option() -> None: ...


# -- schedules and limits -----------------------------------------------------------------------------


async def recurring() -> None:
    made = await queue.create_schedule(
        "nightly", "0 3 * * *", "report", {"a": 1}, missed=Missed.ALL, tags=["x"]
    )
    assert_type(made, ScheduleChange)
    assert_type(await queue.list_schedules(), list[ScheduleInfo])
    assert_type(await queue.run_schedule("nightly"), EnqueueJobResult)
    await queue.limit_queue("mail", 3)
    await queue.limit_queue("mail", None)

    await queue.create_schedule("nightly", "0 3 * * *", "report", delay=5)  # type: ignore[call-arg]
    await queue.limit_queue("mail", "3")  # type: ignore[arg-type]


# -- many, inside transactions, synchronously ---------------------------------------------------------


async def many(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    async def source() -> AsyncIterator[NewJob]:
        yield greet.new("Ann")

    options: JobQueueOptions = {"delay": 5, "tags": ["a"], "retry": Exponential()}
    assert_type(await queue.enqueue_many(greet.new(str(number)) for number in range(10)), int)
    assert_type(await queue.enqueue_many(source()), int)
    assert_type(await queue.enqueue_many([new_job("t", {"a": 1}, options)], connection=connection), int)
    await queue.enqueue("t", {}, connection=connection, notify=True)
    await queue.enqueue("t", {}, **options)

    await queue.enqueue_many(["t"])  # type: ignore[list-item]
    wrong: JobQueueOptions = {"delay": "soon"}  # type: ignore[typeddict-item]
    await queue.enqueue("t", {}, **wrong)


def synchronously(session: Session, connection: psycopg.Connection) -> None:
    with SyncJobQueue("postgresql://localhost/app") as client:
        assert_type(client.enqueue("t", {"a": 1}, connection=session, priority=3), EnqueueJobResult)
        assert_type(client.schedule("t", due, connection=connection), EnqueueJobResult)
        assert_type(client.get_job(an_id), Job | None)
        assert_type(client.enqueue_many([greet.new("Ann")]), int)
        assert_type(client.wait(an_id, 5), Job)
        client.enqueue(7)  # type: ignore[arg-type]
    assert_type(queue.sync, SyncJobQueue)


async def working() -> None:
    registry = Registry([greet, send, Mailer().send])
    async with Worker(queue):
        pass
    async with Worker(registry, settings=WorkerSettings(queues="mail:5")) as worker:
        assert_type(worker, Worker)
    Registry(["greet"])  # type: ignore[list-item]
