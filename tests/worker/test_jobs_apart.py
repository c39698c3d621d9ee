"""Each job runs in an asyncio task of its own: what its handler leaves behind cannot reach the job after it.

All with one slot, so that the second job starts where the first has just ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session, async_sessionmaker, create_async_engine

from jobplane import JobQueue, JobStatus, Worker
from jobplane.events import JobStarted
from tests.support import Recorder, until

ONE_SLOT = "default:1"


async def test_a_timeout_that_an_abandoned_generator_holds_does_not_stop_the_next_job(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    kept: list[AsyncIterator[int]] = []
    timer_fired = asyncio.Event()

    async def pages() -> AsyncIterator[int]:
        async with asyncio.timeout(0.05):
            yield 1

    @queue.task(max_attempts=1)
    async def reads_one_page() -> None:
        source = pages()
        kept.append(source)
        await anext(source)
        asyncio.get_running_loop().call_later(0.1, timer_fired.set)

    @queue.task(max_attempts=1)
    async def next_one() -> str:
        await timer_fired.wait()
        await asyncio.sleep(0)  # where a cancellation would be noticed
        return "undisturbed"

    async with make_worker(queue, queues=ONE_SLOT):
        await reads_one_page.enqueue()
        job = await queue.wait((await next_one.enqueue()).id, 10)

    assert (job.status, job.result) == (JobStatus.COMPLETED, "undisturbed")


@pytest.mark.parametrize("waits", [True, False], ids=["suspended before", "never suspended"])
async def test_cancelling_the_task_of_a_job_that_has_ended_cancels_nothing_else(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    waits: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    tasks: list[asyncio.Task[object]] = []
    running, go_on = asyncio.Event(), asyncio.Event()

    @queue.task(max_attempts=1)
    async def registers_itself() -> None:
        if waits:
            await asyncio.sleep(0)
        me = asyncio.current_task()
        assert me is not None
        tasks.append(me)

    @queue.task(max_attempts=1)
    async def next_one() -> None:
        running.set()
        await go_on.wait()

    async with make_worker(queue, queues=ONE_SLOT):
        await registers_itself.enqueue()
        made = await next_one.enqueue()
        await running.wait()
        tasks[0].cancel("too late")
        go_on.set()
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.COMPLETED


async def test_each_handler_has_one_task_from_its_first_step_to_its_last(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    """What is kept by `asyncio.current_task()`, as scoped sessions are, is found again after a wait, and by no other job."""
    seen: list[tuple[asyncio.Task[object] | None, asyncio.Task[object] | None]] = []

    @queue.task
    async def waits() -> None:
        before = asyncio.current_task()
        await asyncio.sleep(0.001)
        seen.append((before, asyncio.current_task()))

    @queue.task
    async def never_waits() -> None:
        seen.append((asyncio.current_task(), asyncio.current_task()))

    await queue.enqueue_many(job for _ in range(5) for job in (waits.new(), never_waits.new()))
    async with make_worker(queue, queues=ONE_SLOT, prefetch=1):
        await until(lambda: _completed(queue, 10))

    assert all(first is last is not None for first, last in seen)
    assert len({id(first) for first, _ in seen}) == 10, "all alive in `seen`, so no id was given twice"


async def test_an_uncommitted_row_of_a_failed_job_is_not_committed_by_the_next(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    database_url: str,
    sql: asyncpg.Connection[asyncpg.Record],
) -> None:
    """A session for each task is what SQLAlchemy's documentation suggests for asyncio."""
    await sql.execute("CREATE TABLE ledger (entry text)")
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    session = async_scoped_session(async_sessionmaker(engine), scopefunc=asyncio.current_task)

    kept: list[AsyncSession] = []

    @queue.task(max_attempts=1)
    async def books_and_fails() -> None:
        kept.append(session())
        await session.execute(text("INSERT INTO ledger VALUES ('of the failed job')"))
        raise ValueError("before the commit")

    @queue.task(max_attempts=1)
    async def books() -> None:
        await session.execute(text("INSERT INTO ledger VALUES ('of the good job')"))
        await session.commit()
        await session.remove()

    async with make_worker(queue, queues=ONE_SLOT):
        failed = await queue.wait((await books_and_fails.enqueue()).id, 10)
        good = await queue.wait((await books.enqueue()).id, 10)
    for left_open in kept:
        await left_open.close()
    await engine.dispose()

    assert (failed.status, good.status) == (JobStatus.FAILED, JobStatus.COMPLETED)
    assert [row["entry"] for row in await sql.fetch("SELECT entry FROM ledger")] == ["of the good job"]


async def test_context_variables_of_a_job_are_gone_with_it_in_both_kinds_of_handlers(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    tenant: ContextVar[str] = ContextVar("tenant", default="nobody")
    seen: list[str] = []

    @queue.task
    async def on_the_loop(name: str) -> None:
        seen.append(tenant.get())
        tenant.set(name)
        await asyncio.sleep(0)
        seen.append(tenant.get())
        tenant.set(f"{name} again")

    @queue.task
    def in_a_thread(name: str) -> None:
        seen.append(tenant.get())
        tenant.set(name)

    tenant.set("the host program")
    async with make_worker(queue, queues=ONE_SLOT, threads=1):
        await queue.enqueue_many(
            [on_the_loop.new("a"), in_a_thread.new("b"), in_a_thread.new("c"), on_the_loop.new("d")]
        )
        await until(lambda: _completed(queue, 4))

    host = "the host program"
    assert seen == [host, "a", host, host, host, "d"]
    assert tenant.get() == host


async def test_a_slot_survives_a_program_that_cancels_every_task_it_finds(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    """Tasks of jobs too, before their first step and in the middle of one."""
    started = asyncio.Event()

    @queue.task(max_attempts=1)
    async def hangs() -> None:
        started.set()
        await asyncio.Event().wait()

    @queue.task
    async def works() -> None: ...

    worker = make_worker(queue, queues=ONE_SLOT)
    begun = Recorder(worker.events, JobStarted)

    def cancel_the_tasks_of_jobs() -> None:
        for task in asyncio.all_tasks():
            if task.get_name() == "jobplane job":
                task.cancel()

    async with worker:
        first = await hangs.enqueue()
        await started.wait()
        cancel_the_tasks_of_jobs()
        assert (await queue.wait(first.id, 10)).status is JobStatus.FAILED
        put = worker.slots["default"].on_put
        assert put is not None

        def put_and_cancel() -> None:
            put()
            cancel_the_tasks_of_jobs()
            worker.slots["default"].on_put = put

        worker.slots["default"].on_put = put_and_cancel
        made = [await works.enqueue() for _ in range(3)]
        ended = [await queue.wait(one.id, 10) for one in made]

    assert {job.status for job in ended} == {JobStatus.COMPLETED}
    assert len(begun.of(JobStarted)) == 4


async def _completed(queue: JobQueue, count: int) -> bool:
    return (await queue.count_jobs())[JobStatus.COMPLETED] == count
