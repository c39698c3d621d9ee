"""oban for Python: a psycopg pool, 200 jobs at once in a queue, inserts by the thousand."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from oban import Oban, worker  # type: ignore[import-not-found]
from oban.schema import install  # type: ignore[import-not-found]

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


class Instance(Protocol):
    """What we call of an Oban."""

    async def enqueue(self, job: object) -> object: ...

    async def enqueue_many(self, jobs: Iterable[object], /) -> list[object]: ...


class Handled(Protocol):
    """What a handler looks at."""

    args: Mapping[str, float]


LIMIT = 200
CHUNK = 1000
PAYLOAD = {"project_id": PROJECT, "size": 12345678}
NAMES = [f"q{number}" for number in range(QUEUES)]
# One job, as often as is asked for.
BESIDE = """
INSERT INTO oban_jobs (worker, args, state, attempt, attempted_at, completed_at, scheduled_at)
SELECT %(worker)s, %(args)s::jsonb, %(state)s::oban_job_state, %(attempt)s, timezone('UTC', now()),
    CASE WHEN %(days)s = 0 THEN timezone('UTC', now()) END,
    timezone('UTC', now()) + make_interval(days => %(days)s)
FROM generate_series(1, %(jobs)s)
"""

handlers: list[Callable[[float], None]] = []
waiting_for = [0.0]


@worker(queue="default")
class Noop:
    """The job; oban finds it by name, so what it tells goes through the module."""

    async def process(self, job: Handled) -> None:
        """Run one job."""
        if waiting_for[0]:
            await asyncio.sleep(waiting_for[0])
        handlers[0](job.args.get("sent", 0.0))


new: Callable[..., object] = Noop.new  # type: ignore[attr-defined]


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await oban.enqueue(...)`, one after the other."""
    async with _opened(url, 1) as oban:
        for _ in range(50):
            await oban.enqueue(new(PAYLOAD))
        watch = await begin()
        for _ in range(jobs):
            await oban.enqueue(new(PAYLOAD))
        return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """The same call from a hundred tasks, over a pool."""
    async with _opened(url, 10) as oban:
        await oban.enqueue(new(PAYLOAD))
        watch = await begin()
        await together(jobs, lambda: oban.enqueue(new(PAYLOAD)))
        return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`await oban.enqueue_many(...)`, a thousand at a time."""
    async with _opened(url, 1) as oban:
        watch = await begin()
        await _insert(oban, jobs)
        return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """One worker runs everything that waits."""
    return await _drain(url, jobs, ["default"])


async def queues(url: str, jobs: int) -> dict[str, float]:
    """The same over ten queues."""
    return await _drain(url, jobs, NAMES)


async def waits(url: str, jobs: int) -> dict[str, float]:
    """As `drain`, of jobs that take a millisecond."""
    waiting_for[0] = WAIT
    return await _drain(url, jobs, ["default"])


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
    handlers[:] = [arrivals.note]
    async with _opened(url, 10, {"default": LIMIT}), _opened(url, 10) as producer:
        await asyncio.sleep(2)  # until it leads and listens
        await begin()
        await produce(lambda sent: producer.enqueue(new({"sent": sent})))
        return await arrivals.figures()


async def _drain(url: str, jobs: int, names: list[str]) -> dict[str, float]:
    tally = Tally(jobs)
    handlers[:] = [lambda _sent: tally.add()]
    watch = await begin()
    async with _opened(url, 10, dict.fromkeys(names, LIMIT)):
        await tally.drained()
        return watch.per(jobs)


@asynccontextmanager
async def _opened(
    url: str, connections: int, limits: Mapping[str, int] | None = None
) -> AsyncIterator[Instance]:
    pool = await Oban.create_pool(url, max_size=connections)
    try:
        async with Oban(pool=pool, queues=limits and dict(limits), shutdown_grace_period=1.0) as oban:
            yield oban
    finally:
        await pool.close()


async def _insert(
    oban: Instance, jobs: int, more: Callable[[int], Mapping[str, object]] = lambda _: {}
) -> None:
    for first in range(0, jobs, CHUNK):
        numbers = range(first, min(first + CHUNK, jobs))
        await oban.enqueue_many([new(PAYLOAD, **more(number)) for number in numbers])


async def schema(url: str, _jobs: int) -> None:
    """As `oban install`."""
    pool = await Oban.create_pool(url, max_size=1)
    await install(pool)
    await pool.close()


async def waiting(url: str, jobs: int) -> None:
    """Jobs that are due."""
    async with _opened(url, 1) as oban:
        await _insert(oban, jobs)


async def spread(url: str, jobs: int) -> None:
    """Jobs of ten queues with five priorities."""
    async with _opened(url, 1) as oban:
        await _insert(
            oban,
            jobs,
            lambda number: {"queue": NAMES[number % QUEUES], "priority": number // QUEUES % PRIORITIES},
        )


async def future(url: str, jobs: int) -> None:
    """Jobs that are due tomorrow."""
    await _beside(url, {"state": "scheduled", "attempt": 0, "days": 1, "jobs": jobs})


async def finished(url: str, jobs: int) -> None:
    """Jobs that are completed."""
    await _beside(url, {"state": "completed", "attempt": 1, "days": 0, "jobs": jobs})


async def _beside(url: str, arguments: Mapping[str, object]) -> None:
    pool = await Oban.create_pool(url, max_size=1)
    async with pool.connection() as connection:
        await connection.execute(
            BESIDE, {"worker": "__main__.Noop", "args": json.dumps(PAYLOAD), **arguments}
        )
    await pool.close()


if __name__ == "__main__":
    logging.disable()
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
