"""pgqueuer with asyncpg, uvloop and large batches."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol

import asyncpg
import uvloop  # type: ignore[import-not-found,unused-ignore]
from pgqueuer import AsyncpgDriver, AsyncpgPoolDriver, PgQueuer, Queries  # type: ignore[import-not-found]

from bench.harness.adapter import (
    PRIORITIES,
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


class QueuedJob(Protocol):
    """What a handler looks at."""

    payload: bytes


class EnqueuePort(Protocol):
    """What we call of its queries."""

    async def enqueue(
        self,
        entrypoint: str | list[str],
        payload: bytes | list[bytes],
        priority: int | list[int] = 0,
        execute_after: list[timedelta] | None = None,
    ) -> object: ...


BATCH = 500
CHUNK = 5000
PAYLOAD = json.dumps({"project_id": PROJECT, "size": 12345678}).encode()
# One finished job, as often as is asked for.
FINISHED = """
INSERT INTO pgqueuer_log (job_id, status, priority, entrypoint, aggregated)
SELECT number, 'successful', 0, 'noop', true FROM generate_series(1, $1) AS number
"""


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await queries.enqueue(...)`, one after the other."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    for _ in range(50):
        await queries.enqueue("noop", PAYLOAD)
    watch = await begin()
    for _ in range(jobs):
        await queries.enqueue("noop", PAYLOAD)
    return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """The same call from a hundred tasks, over a pool."""
    queries = await _pooled(url)
    watch = await begin()
    await together(jobs, lambda: queries.enqueue("noop", PAYLOAD))
    return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`await queries.enqueue([...], [...], [...])`, 5,000 at a time."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))
    watch = await begin()
    await _enqueue(queries, jobs)
    return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """One worker runs everything that waits."""
    return await _drain(url, jobs, ["noop"])


async def waits(url: str, jobs: int) -> dict[str, float]:
    """As `drain`, of jobs that take a millisecond."""
    return await _drain(url, jobs, ["noop"], WAIT)


async def queues(url: str, jobs: int) -> dict[str, float]:
    """The same with ten entry points."""
    return await _drain(url, jobs, [f"q{number}" for number in range(QUEUES)])


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """One by one at 100 a second; the handler notes when it starts."""
    arrivals = Arrivals(jobs)
    working = await _work(url, ["noop"], lambda job: arrivals.note(float(job.payload)), 10)
    queries = Queries(AsyncpgDriver(await asyncpg.connect(url)))

    async def produce() -> None:
        await queries.enqueue("noop", str(time.perf_counter()).encode())

    await asyncio.sleep(1)  # until it listens
    await begin()
    await paced(jobs, 100, produce)
    figures = await arrivals.figures()
    working.cancel()
    return figures


async def pickup1000(url: str, jobs: int) -> dict[str, float]:
    """1,000 a second, each call when it is due."""
    arrivals = Arrivals(jobs)
    working = await _work(url, ["noop"], lambda job: arrivals.note(float(job.payload)), 100)
    queries = await _pooled(url)
    await asyncio.sleep(1)
    await begin()
    await steady(jobs, 1000, lambda due: queries.enqueue("noop", str(due).encode()))
    figures = await arrivals.figures()
    working.cancel()
    return figures


async def _drain(url: str, jobs: int, names: list[str], seconds: float = 0.0) -> dict[str, float]:
    tally = Tally(jobs)
    watch = await begin()
    working = await _work(url, names, lambda _job: tally.add(), BATCH, seconds)
    await tally.drained()
    working.cancel()
    return watch.per(jobs)


async def _work(
    url: str, names: list[str], handle: Callable[[QueuedJob], None], batch: int, seconds: float = 0.0
) -> asyncio.Task[None]:
    async def noop(job: QueuedJob) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        handle(job)

    worker = PgQueuer.from_asyncpg_pool(await asyncpg.create_pool(url, min_size=2, max_size=4))
    for name in names:
        worker.entrypoint(name)(noop)
    return asyncio.create_task(worker.run(batch_size=batch, dequeue_timeout=timedelta(seconds=1)))


async def _pooled(url: str) -> EnqueuePort:
    queries: EnqueuePort = Queries(
        AsyncpgPoolDriver(await asyncpg.create_pool(url, min_size=10, max_size=10))
    )
    return queries


async def _enqueue(
    queries: EnqueuePort,
    jobs: int,
    *,
    after: timedelta | None = None,
    spread: bool = False,
) -> None:
    for first in range(0, jobs, CHUNK):
        numbers = range(first, min(first + CHUNK, jobs))
        await queries.enqueue(
            [f"q{number % QUEUES}" if spread else "noop" for number in numbers],
            [PAYLOAD for _ in numbers],
            [number // QUEUES % PRIORITIES if spread else 0 for number in numbers],
            [after for _ in numbers] if after else None,
        )


async def schema(url: str, _jobs: int) -> None:
    """As `pgq install`."""
    await Queries(AsyncpgDriver(await asyncpg.connect(url))).install()


async def waiting(url: str, jobs: int) -> None:
    """Jobs that are due."""
    await _enqueue(await _pooled(url), jobs)


async def spread(url: str, jobs: int) -> None:
    """Jobs of ten entry points with five priorities."""
    await _enqueue(await _pooled(url), jobs, spread=True)


async def future(url: str, jobs: int) -> None:
    """Jobs that are due tomorrow."""
    await _enqueue(await _pooled(url), jobs, after=timedelta(days=1))


async def finished(url: str, jobs: int) -> None:
    """What is left of finished jobs: a row of the log for each, already counted by the statistics."""
    await (await asyncpg.connect(url)).execute(FINISHED, jobs)


if __name__ == "__main__":
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
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
        },
        {"schema": schema, "waiting": waiting, "spread": spread, "future": future, "finished": finished},
    )
