"""Runners: fixed tasks that share one event loop fairly."""

import asyncio
import time
from collections.abc import Callable

from jobplane import JobQueue, JobStatus, Worker, new_job
from jobplane.events import JobFinished, JobStarted, LoopBlocked
from tests.support import SLACK, Recorder, until


async def test_handlers_that_never_wait_do_not_keep_deadlines_from_being_noticed(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def busy() -> None:
        end = time.monotonic() + 0.001
        while time.monotonic() < end:
            pass

    @queue.task(timeout=0.3, max_attempts=1)
    async def hang() -> None:
        await asyncio.Event().wait()

    worker = make_worker(queue, queues="default:4", prefetch=1)
    recorder = Recorder(worker.events, JobFinished, LoopBlocked)
    hung = await hang.enqueue()
    await queue.enqueue_many(new_job("busy", {}) for _ in range(1500))

    async with worker:
        await until(lambda: _ended(queue, 1501))

    order = [event.claim.id for event in recorder.of(JobFinished)]
    (timed_out,) = [event for event in recorder.of(JobFinished) if event.claim.id == hung.id]
    assert timed_out.seconds < 0.3 * SLACK
    assert order.index(hung.id) < 1400, "in the middle of the flood"
    assert recorder.of(LoopBlocked) == []


async def test_handlers_that_never_wait_do_not_keep_the_host_programs_own_tasks_from_running(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    turns = 0
    done = asyncio.Event()

    @queue.task
    async def busy() -> None:
        end = time.monotonic() + 0.0005
        while time.monotonic() < end:
            pass

    async def host() -> None:
        nonlocal turns
        while not done.is_set():
            await asyncio.sleep(0)
            turns += 1

    await queue.enqueue_many(new_job("busy", {}) for _ in range(600))
    hosting = asyncio.create_task(host())

    async with make_worker(queue, prefetch=1):
        await until(lambda: _ended(queue, 600))
    done.set()
    await hosting

    assert turns > 60


async def test_a_free_slot_is_filled_while_its_neighbours_are_busy_for_long(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    finish = asyncio.Event()

    @queue.task
    async def long() -> None:
        await finish.wait()

    @queue.task
    async def quick() -> None: ...

    worker = make_worker(queue, queues="default:4")
    recorder = Recorder(worker.events, JobStarted)
    slow = [await long.enqueue() for _ in range(3)]

    async with worker:
        await recorder.wait_for(JobStarted, 3)
        for _ in range(10):
            made = await quick.enqueue()
            await queue.wait(made.id, 5)
        assert len(worker.running_jobs()) == 3
        finish.set()
        for one in slow:
            await queue.wait(one.id, 5)


async def _ended(queue: JobQueue, count: int) -> bool:
    counts = await queue.count_jobs()
    return counts.get(JobStatus.COMPLETED, 0) + counts.get(JobStatus.FAILED, 0) == count
