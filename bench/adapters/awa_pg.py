"""awa from Python: its Rust core with queue storage, COPY for many, 200 jobs at once in a queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from awa import AsyncClient  # type: ignore[import-not-found]

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

LIMIT = 200
CHUNK = 5000
NAMES = [f"q{number}" for number in range(QUEUES)]


@dataclass
class Noop:
    """A payload of about 70 bytes."""

    project_id: str = PROJECT
    size: int = 12345678


@dataclass
class Timed:
    """When it was sent."""

    sent: float


class Arrived(Protocol):
    """What a handler looks at."""

    args: Timed


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await client.insert(...)`, one after the other."""
    client = AsyncClient(url)
    for _ in range(50):
        await client.insert(Noop())
    watch = await begin()
    for _ in range(jobs):
        await client.insert(Noop())
    return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """The same call from a hundred tasks, over the pool."""
    client = AsyncClient(url)
    await client.insert(Noop())
    watch = await begin()
    await together(jobs, lambda: client.insert(Noop()))
    return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`await client.enqueue_many_copy(...)`, 5,000 at a time."""
    watch = await begin()
    await waiting(url, jobs)
    return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """One worker runs everything that waits."""
    return await _drain(url, jobs, ["default"])


async def waits(url: str, jobs: int) -> dict[str, float]:
    """As `drain`, of jobs that take a millisecond."""
    return await _drain(url, jobs, ["default"], WAIT)


async def queues(url: str, jobs: int) -> dict[str, float]:
    """The same over ten queues."""
    return await _drain(url, jobs, NAMES)


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """One by one at 100 a second; the handler notes when it starts."""

    def paced_inserts(insert: Callable[[float], Awaitable[object]]) -> Awaitable[None]:
        async def produce() -> None:
            await insert(time.perf_counter())

        return paced(jobs, 100, produce)

    return await _pickup(url, jobs, paced_inserts)


async def pickup1000(url: str, jobs: int) -> dict[str, float]:
    """1,000 a second, each call when it is due."""
    return await _pickup(url, jobs, lambda insert: steady(jobs, 1000, insert))


async def _pickup(
    url: str, jobs: int, produce: Callable[[Callable[[float], Awaitable[object]]], Awaitable[None]]
) -> dict[str, float]:
    arrivals = Arrivals(jobs)
    producer, consumer = AsyncClient(url), AsyncClient(url)

    async def handle(job: Arrived) -> None:
        arrivals.note(job.args.sent)

    async def insert(sent: float) -> object:
        return await producer.insert(Timed(sent))

    consumer.task(Timed, queue="default")(handle)
    await consumer.start([("default", LIMIT)])
    await asyncio.sleep(1)  # until it listens
    await begin()
    await produce(insert)
    return await arrivals.figures()


async def _drain(url: str, jobs: int, names: list[str], seconds: float = 0.0) -> dict[str, float]:
    tally = Tally(jobs)
    client = AsyncClient(url, 20)

    async def handle(_job: object) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        tally.add()

    client.task(Noop, queue=names[0])(handle)
    watch = await begin()
    await client.start([(name, LIMIT) for name in names])
    await tally.drained()
    figures = watch.per(jobs)
    await client.shutdown()
    return figures


async def schema(url: str, _jobs: int) -> None:
    """Migrations, with the storage that its newest release recommends."""
    client = AsyncClient(url)
    await client.migrate()
    await client.install_queue_storage()


async def waiting(url: str, jobs: int) -> None:
    """Jobs that are due."""
    await _enqueue(url, jobs, {})


async def spread(url: str, jobs: int) -> None:
    """Jobs of ten queues; of priorities it has four."""
    parts = QUEUES * (PRIORITIES - 1)
    for part in range(parts):
        where = {"queue": NAMES[part % QUEUES], "priority": 1 + part // QUEUES}
        await _enqueue(url, jobs // parts + (part < jobs % parts), where)


async def future(url: str, jobs: int) -> None:
    """Jobs that are due tomorrow."""
    await _enqueue(url, jobs, {"run_at": datetime.now(UTC) + timedelta(days=1)})


async def _enqueue(url: str, jobs: int, options: Mapping[str, object]) -> None:
    client = AsyncClient(url)
    for first in range(0, jobs, CHUNK):
        batch = [Noop() for _ in range(min(CHUNK, jobs - first))]
        await client.enqueue_many_copy(batch, **options)


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
        },
        {"schema": schema, "waiting": waiting, "spread": spread, "future": future},
    )
