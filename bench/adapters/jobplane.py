"""jobplane through its public API."""

from __future__ import annotations

import time

from bench.adapters.ground import GROUNDS
from bench.harness.adapter import (
    PROJECT,
    QUEUES,
    Arrivals,
    Tally,
    begin,
    paced,
    run_adapter,
    steady,
    together,
)
from jobplane import JobQueue, Worker
from jobplane.events import JobsReported


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await queue.enqueue(...)`, one after the other."""
    async with JobQueue(url) as queue:
        for _ in range(50):
            await queue.enqueue("noop", {"project_id": PROJECT, "size": 12345678})
        watch = await begin()
        for _ in range(jobs):
            await queue.enqueue("noop", {"project_id": PROJECT, "size": 12345678})
        return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """The same call from a hundred tasks."""
    async with JobQueue(url) as queue:
        await queue.count_jobs()
        watch = await begin()
        await together(jobs, lambda: queue.enqueue("noop", {"project_id": PROJECT, "size": 12345678}))
        return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`await queue.enqueue_many(...)` of tasks with validated arguments."""
    async with JobQueue(url) as queue:

        @queue.task
        async def noop(project_id: str, size: int) -> None: ...

        await queue.count_jobs()
        watch = await begin()
        await queue.enqueue_many(noop.new(PROJECT, size) for size in range(jobs))
        return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """A worker with 100 slots runs everything that waits."""
    return await _drain(url, jobs, "default:100")


async def queues(url: str, jobs: int) -> dict[str, float]:
    """The same over ten queues."""
    return await _drain(url, jobs, ",".join(f"q{number}:10" for number in range(QUEUES)))


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """`await queue.enqueue(...)` at 100 a second; a handler notes when it starts."""
    queue = JobQueue(url)
    arrivals = Arrivals(jobs)

    @queue.task
    async def noop(sent: float) -> None:
        arrivals.note(sent)

    async def produce() -> None:
        await noop.enqueue(time.perf_counter())

    async with Worker(queue, queues="default:10"):
        await begin()
        await paced(jobs, 100, produce)
        return await arrivals.figures()


async def pickup1000(url: str, jobs: int) -> dict[str, float]:
    """1,000 a second, each call when it is due."""
    queue = JobQueue(url)
    arrivals = Arrivals(jobs)

    @queue.task
    async def noop(sent: float) -> None:
        arrivals.note(sent)

    async with Worker(queue, queues="default:100"):
        await begin()
        await steady(jobs, 1000, noop.enqueue)
        return await arrivals.figures()


async def _drain(url: str, jobs: int, slots: str) -> dict[str, float]:
    queue = JobQueue(url)

    @queue.task
    async def noop(project_id: str, size: int) -> None: ...

    worker = Worker(queue, queues=slots)
    tally = Tally(jobs)
    worker.events.subscribe(JobsReported, lambda event: tally.add(len(event.ids)))
    watch = await begin()
    async with worker:
        await tally.drained()
        return watch.per(jobs)


if __name__ == "__main__":
    run_adapter(
        {
            "single": single,
            "concurrent": concurrent,
            "bulk": bulk,
            "drain": drain,
            "queues": queues,
            "pickup": pickup,
            "pickup1000": pickup1000,
        },
        GROUNDS,
    )
