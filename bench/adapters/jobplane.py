"""jobplane through its public API."""

from __future__ import annotations

import asyncio
import os
import time

from bench.adapters.ground import GROUNDS
from bench.adapters.producer import RATE, start_producer
from bench.harness.adapter import (
    PROJECT,
    QUEUES,
    WAIT,
    Arrivals,
    Tally,
    begin,
    paced,
    run_adapter,
    steady,
    together,
)
from bench.harness.sampler import memory
from jobplane import JobQueue, Worker
from jobplane.events import JobsReported

PACE = 1000
"""Jobs a second of `endurance`."""
LASTS = 9.8
"""Seconds that each of them takes: nearly 10,000 are in flight, the most that one worker has slots for."""
HOLD = 20.0
"""Seconds for which all handlers are in flight: two heartbeats."""


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


async def connected(queue: JobQueue) -> None:
    """Open the connections of a client, as the other adapters do before they begin."""
    await queue.enqueue("noop", {}, queue="nobodys")


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
        await connected(queue)
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
        await connected(queue)
        await begin()
        await steady(jobs, 1000, noop.enqueue)
        return await arrivals.figures()


async def waits(url: str, jobs: int) -> dict[str, float]:
    """As `drain`, of jobs that take a millisecond."""
    return await _drain(url, jobs, "default:100", seconds=WAIT)


async def burst(url: str, jobs: int) -> dict[str, float]:
    """All at once by `enqueue_many`, while a worker waits for them."""
    queue = JobQueue(url)

    @queue.task
    async def noop(project_id: str, size: int) -> None: ...

    tally = Tally(jobs, silent=True)
    worker = Worker(queue, queues="default:100")
    worker.events.subscribe(JobsReported, lambda event: tally.add(len(event.ids)))
    async with worker:
        watch = await begin()
        await queue.enqueue_many(noop.new(PROJECT, size) for size in range(jobs))
        await tally.complete.wait()
        return watch.per(jobs)


async def flow(url: str, jobs: int) -> dict[str, float]:
    """A worker beside a process that enqueues at a steady rate."""
    queue = JobQueue(url)
    arrivals = Arrivals(jobs)

    @queue.task
    async def noop(sent: float) -> None:
        arrivals.note(sent)

    async with Worker(queue, queues="default:100"):
        watch = await begin()
        producer = await start_producer(url, jobs)
        figures = await arrivals.figures(jobs / RATE)
        result = watch.per(jobs)
        await producer.wait()
        return {**result, **figures}


async def inflight(url: str, jobs: int) -> dict[str, float]:
    """As many slots as jobs; each handler waits until all have started, and then a while longer."""
    queue = JobQueue(url)
    all_started = asyncio.Event()
    started = 0

    @queue.task
    async def noop(project_id: str, size: int) -> None:
        nonlocal started
        started += 1
        if started == jobs:
            all_started.set()
        await all_started.wait()
        await asyncio.sleep(HOLD)

    tally = Tally(jobs, silent=True)
    worker = Worker(queue, queues=f"default:{jobs}")
    worker.events.subscribe(JobsReported, lambda event: tally.add(len(event.ids)))
    async with worker:
        watch = await begin()
        await queue.enqueue_many(noop.new(PROJECT, size) for size in range(jobs))
        await all_started.wait()
        result = watch.per(jobs)
        await tally.complete.wait()
        return result


async def endurance(url: str, jobs: int) -> dict[str, float]:
    """1,000 jobs a second that each take nearly ten: 10,000 are in flight all the time. What does the process grow by?"""
    queue = JobQueue(url)

    @queue.task
    async def noop(sent: float) -> None:
        await asyncio.sleep(LASTS)

    first, tally = Tally(jobs // 10, silent=True), Tally(jobs, silent=True)
    worker = Worker(queue, queues="default:10000")
    worker.events.subscribe(JobsReported, lambda event: first.add(len(event.ids)))
    worker.events.subscribe(JobsReported, lambda event: tally.add(len(event.ids)))
    async with worker:
        watch = await begin()
        producer = await start_producer(url, jobs, PACE)
        await first.complete.wait()
        early = memory(os.getpid())
        await tally.complete.wait()
        result = {**watch.per(jobs), "growth": memory(os.getpid()) - early}
        await producer.wait()
        return result


async def _drain(url: str, jobs: int, slots: str, seconds: float = 0.0) -> dict[str, float]:
    queue = JobQueue(url)
    if seconds:

        @queue.task(name="noop")
        async def wait(project_id: str, size: int) -> None:
            await asyncio.sleep(seconds)
    else:

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
            "waits": waits,
            "burst": burst,
            "flow": flow,
            "inflight": inflight,
            "endurance": endurance,
        },
        GROUNDS,
    )
