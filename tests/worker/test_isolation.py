"""Handlers run in the runner's task, and notice nothing of each other."""

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest

from jobplane import JobContext, JobQueue, JobStatus, Worker
from jobplane.context import current_job_id
from jobplane.retry import Fixed

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="none")


async def test_a_context_variable_that_a_handler_sets_is_unknown_to_the_next_job(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def remember(name: str) -> list[str]:
        before = tenant.get()
        tenant.set(name)
        await asyncio.sleep(0)
        return [before, tenant.get()]

    @queue.task
    def remember_in_thread(name: str) -> list[str]:
        before = tenant.get()
        tenant.set(name)
        return [before, tenant.get()]

    made = [await remember.enqueue("a"), await remember.enqueue("b")]
    made += [await remember_in_thread.enqueue("c"), await remember_in_thread.enqueue("d")]

    async with make_worker(queue, queues="default:1", threads=1):
        results = [(await queue.wait(one.id, 10)).result for one in made]

    assert results == [["none", "a"], ["none", "b"], ["none", "c"], ["none", "d"]]


async def test_concurrent_jobs_keep_their_context_variables_apart(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    together = asyncio.Barrier(3)

    @queue.task
    async def remember(name: str) -> str:
        tenant.set(name)
        await together.wait()
        return await asyncio.create_task(read())  # what a handler starts inherits its variables

    async def read() -> str:
        return tenant.get()

    made = {name: await remember.enqueue(name) for name in "abc"}

    async with make_worker(queue):
        results = {name: (await queue.wait(one.id, 10)).result for name, one in made.items()}

    assert results == {"a": "a", "b": "b", "c": "c"}


async def test_both_colours_see_the_variables_of_whoever_started_the_worker_and_their_own_job(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def on_loop(ctx: JobContext) -> list[object]:
        return [tenant.get(), current_job_id.get() == ctx.job.id]

    @queue.task
    def in_thread(ctx: JobContext) -> list[object]:
        return [tenant.get(), current_job_id.get() == ctx.job.id]

    tenant.set("host")
    made = [await on_loop.enqueue(), await in_thread.enqueue()]

    async with make_worker(queue):
        results = [(await queue.wait(one.id, 10)).result for one in made]

    assert results == [["host", True], ["host", True]]
    assert current_job_id.get() is None


async def test_timeouts_of_asyncio_work_inside_a_handler(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=1)
    async def impatient() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            await asyncio.sleep(0)
            return "gave up"
        return "never"

    made = [await impatient.enqueue() for _ in range(3)]

    async with make_worker(queue, queues="default:1"):
        jobs = [await queue.wait(one.id, 10) for one in made]

    assert [job.result for job in jobs] == ["gave up"] * 3


async def test_task_groups_work_inside_a_handler(queue: JobQueue, make_worker: Callable[..., Worker]) -> None:
    @queue.task(max_attempts=1)
    async def gather() -> list[int]:
        async with asyncio.TaskGroup() as group:
            parts = [group.create_task(asyncio.sleep(0.001, number)) for number in range(3)]
        return [part.result() for part in parts]

    @queue.task(max_attempts=1)
    async def broken_gather() -> None:
        async def fail() -> None:
            raise OSError("one of us")

        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
            await asyncio.Event().wait()  # cancelled by its sibling's failure

    made = [await gather.enqueue(), await broken_gather.enqueue(), await gather.enqueue()]

    async with make_worker(queue, queues="default:1"):
        first, second, third = [await queue.wait(one.id, 10) for one in made]

    assert first.result == third.result == [0, 1, 2]
    assert (second.status, second.last_error) == (
        JobStatus.FAILED,
        "ExceptionGroup: unhandled errors in a TaskGroup (1 sub-exception)",
    )


async def test_synchronous_handlers_run_off_the_event_loop_side_by_side(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    together = threading.Barrier(3, timeout=10)
    loops_thread = threading.get_ident()

    @queue.task(max_attempts=1)
    def meet() -> bool:
        together.wait()  # returns only when three are in here at once
        return threading.get_ident() == loops_thread

    made = [await meet.enqueue() for _ in range(3)]

    async with make_worker(queue):
        results = [(await queue.wait(one.id, 10)).result for one in made]

    assert results == [False, False, False]


async def test_never_more_synchronous_handlers_run_than_there_are_threads(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    running, most, lock = 0, 0, threading.Lock()

    @queue.task
    def count() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    made = [await count.enqueue() for _ in range(12)]

    async with make_worker(queue, queues="default:8", threads=2):
        for one in made:
            await queue.wait(one.id, 10)

    assert most == 2


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_what_a_handler_does_to_its_job_object_does_not_reach_the_next_attempt(
    queue: JobQueue, make_worker: Callable[..., Worker], colour: str
) -> None:
    seen: list[list[int]] = []

    @queue.task(max_attempts=2, retry=Fixed(timedelta(0)))
    async def on_loop(numbers: list[int]) -> None:
        seen.append(list(numbers))
        numbers.append(99)
        raise ValueError

    @queue.task(max_attempts=2, retry=Fixed(timedelta(0)))
    def in_thread(numbers: list[int]) -> None:
        seen.append(list(numbers))
        numbers.append(99)
        raise ValueError

    made = await (on_loop if colour == "async" else in_thread).enqueue([1])

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    assert seen == [[1], [1]]
