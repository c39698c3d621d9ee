"""`python -m bench.adapters.producer <url> <jobs> <rate>`: enqueues at a steady rate, in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import Process

from jobplane import JobQueue

RATE = 20_000
"""Jobs a second of `flow`: half of what two cores can enqueue and run at once."""
CHUNK = 100


async def start_producer(url: str, jobs: int, rate: int = RATE) -> Process:
    """Begin to enqueue, so many a second."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.adapters.producer", url, str(jobs), str(rate)
    )


async def produce(url: str, jobs: int, rate: int) -> None:
    """Chunks of a hundred, each when it is due, whether or not the one before is written."""
    async with JobQueue(url) as queue:

        @queue.task
        async def noop(sent: float) -> None: ...

        await queue.count_jobs()
        start = time.perf_counter()
        writing: set[asyncio.Task[int]] = set()
        for first in range(0, jobs, CHUNK):
            due = start + first / rate
            if (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
            chunk = [noop.new(due) for _ in range(min(CHUNK, jobs - first))]
            task = asyncio.create_task(queue.enqueue_many(chunk))
            writing.add(task)
            task.add_done_callback(writing.discard)
        await asyncio.gather(*writing)


if __name__ == "__main__":
    asyncio.run(produce(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
