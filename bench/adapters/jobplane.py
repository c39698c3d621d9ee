"""jobplane through its public API."""

from __future__ import annotations

import asyncio
import time

from bench.harness.adapter import Stopwatch, paced, percentiles, run_adapter
from jobplane import JobQueue, Worker
from jobplane.events import JobsReported

PROJECT = "0190b0c2-7f6e-7c3e-8a53-0123456789ab"


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await queue.enqueue(...)`, one after the other."""
    async with JobQueue(url) as queue:
        for _ in range(50):
            await queue.enqueue("noop", {"project_id": PROJECT, "size": 12345678})
        watch = Stopwatch()
        for _ in range(jobs):
            await queue.enqueue("noop", {"project_id": PROJECT, "size": 12345678})
        return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`await queue.enqueue_many(...)` of tasks with validated arguments."""
    async with JobQueue(url) as queue:

        @queue.task
        async def noop(project_id: str, size: int) -> None: ...

        await queue.count_jobs()
        watch = Stopwatch()
        await queue.enqueue_many(noop.new(PROJECT, size) for size in range(jobs))
        return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """A worker with 100 slots runs everything that waits."""
    queue = JobQueue(url)

    @queue.task
    async def noop(project_id: str, size: int) -> None: ...

    worker = Worker(queue, queues="default:100")
    done = asyncio.Event()
    reported = 0

    def count(event: JobsReported) -> None:
        nonlocal reported
        reported += len(event.ids)
        if reported >= jobs:
            done.set()

    worker.events.subscribe(JobsReported, count)
    watch = Stopwatch()
    async with worker:
        await done.wait()
        return watch.per(jobs)


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """`await queue.enqueue(...)` at 100 a second; a handler notes when it starts."""
    queue = JobQueue(url)
    took: list[float] = []
    finished = asyncio.Event()

    @queue.task
    async def noop(sent: float) -> None:
        took.append((time.perf_counter() - sent) * 1000)
        if len(took) == jobs:
            finished.set()

    async def produce() -> None:
        await noop.enqueue(time.perf_counter())

    async with Worker(queue, queues="default:10"):
        await paced(jobs, 100, produce)
        await finished.wait()
    await queue.close()
    return percentiles(took)


if __name__ == "__main__":
    run_adapter({"single": single, "bulk": bulk, "drain": drain, "pickup": pickup})
