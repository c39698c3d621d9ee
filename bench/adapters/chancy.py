"""chancy with its asyncio executor, eager polling, and a queue wide enough to be kept busy."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping

from chancy import Chancy, Job, Queue, Worker  # type: ignore[import-not-found]

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

CONCURRENCY = 200
PAYLOAD = {"project_id": PROJECT, "size": 12345678}
NAMES = [f"q{number}" for number in range(QUEUES)]
# One job, as often as is asked for.
BESIDE = """
INSERT INTO chancy_jobs (id, queue, func, kwargs, state, attempts, scheduled_at, completed_at)
SELECT gen_random_uuid(), 'default', '__main__.noop', %(kwargs)s::json, %(state)s, %(attempts)s,
    now() + make_interval(days => %(days)s), CASE WHEN %(days)s = 0 THEN now() END
FROM generate_series(1, %(jobs)s)
"""

handlers: list[Callable[[float], None]] = []
waiting_for = [0.0]


async def noop(sent: float = 0.0, project_id: str = "", size: int = 0) -> None:
    """The job; chancy finds it by name, so what it tells goes through the module."""
    if waiting_for[0]:
        await asyncio.sleep(waiting_for[0])
    handlers[0](sent)


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await chancy.push(...)`, one after the other."""
    async with Chancy(url) as chancy:
        job = Job.from_func(noop, kwargs=PAYLOAD)
        for _ in range(50):
            await chancy.push(job)
        watch = await begin()
        for _ in range(jobs):
            await chancy.push(job)
        return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """The same call from a hundred tasks, over the pool."""
    async with Chancy(url) as chancy:
        job = Job.from_func(noop, kwargs=PAYLOAD)
        watch = await begin()
        await together(jobs, lambda: chancy.push(job))
        return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`chancy.push_many(...)`."""
    watch = await begin()
    await waiting(url, jobs)
    return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """One worker runs everything that waits."""
    tally = Tally(jobs)
    watch = await begin()
    async with Chancy(url) as chancy:
        await _work(chancy, lambda _sent: tally.add())
        await tally.drained()
        return watch.per(jobs)


async def waits(url: str, jobs: int) -> dict[str, float]:
    """As `drain`, of jobs that take a millisecond."""
    waiting_for[0] = WAIT
    return await drain(url, jobs)


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """One by one at 100 a second; the handler notes when it starts."""

    def paced_pushes(push: Callable[[float], Awaitable[object]]) -> Awaitable[None]:
        async def produce() -> None:
            await push(time.perf_counter())

        return paced(jobs, 100, produce)

    return await _pickup(url, jobs, paced_pushes)


async def pickup1000(url: str, jobs: int) -> dict[str, float]:
    """1,000 a second, each call when it is due."""
    return await _pickup(url, jobs, lambda push: steady(jobs, 1000, push))


async def _pickup(
    url: str, jobs: int, produce: Callable[[Callable[[float], Awaitable[object]]], Awaitable[None]]
) -> dict[str, float]:
    arrivals = Arrivals(jobs)
    async with Chancy(url) as producer, Chancy(url) as consumer:

        async def push(sent: float) -> object:
            return await producer.push(Job.from_func(noop, kwargs={"sent": sent}))

        await _work(consumer, arrivals.note)
        await asyncio.sleep(2)  # until it has found its queues and listens
        await begin()
        await produce(push)
        return await arrivals.figures()


async def _work(chancy: object, handle: Callable[[float], None]) -> None:
    handlers[:] = [handle]
    worker = Worker(chancy, register_signal_handlers=False)
    worker.send_outgoing_interval = 0.1
    await worker.start()


async def schema(url: str, _jobs: int) -> None:
    """Migrations, and the queues."""
    async with Chancy(url) as chancy:
        await chancy.migrate()
        options = {"executor": Chancy.Executor.Async, "polling_interval": 1, "eager_polling": True}
        for name in ("default", *NAMES):
            await chancy.declare(Queue(name, concurrency=CONCURRENCY, **options))


async def waiting(url: str, jobs: int) -> None:
    """Jobs that are due."""
    await _push(url, [Job.from_func(noop, kwargs=PAYLOAD) for _ in range(jobs)])


async def spread(url: str, jobs: int) -> None:
    """Jobs of ten queues with five priorities."""
    job = Job.from_func(noop, kwargs=PAYLOAD)
    parts = [(NAMES[number % QUEUES], number // QUEUES % PRIORITIES) for number in range(jobs)]
    await _push(url, [job.with_queue(name).with_priority(priority) for name, priority in parts])


async def future(url: str, jobs: int) -> None:
    """Jobs that are due tomorrow."""
    await _beside(url, {"state": "pending", "attempts": 0, "days": 1, "jobs": jobs})


async def finished(url: str, jobs: int) -> None:
    """Jobs that succeeded."""
    await _beside(url, {"state": "succeeded", "attempts": 1, "days": 0, "jobs": jobs})


async def _push(url: str, jobs: list[object]) -> None:
    async with Chancy(url) as chancy:
        async for _ in chancy.push_many(jobs):
            pass


async def _beside(url: str, arguments: Mapping[str, object]) -> None:
    async with Chancy(url) as chancy, chancy.pool.connection() as connection:
        await connection.execute(BESIDE, {"kwargs": json.dumps(PAYLOAD), **arguments})


if __name__ == "__main__":
    logging.disable()
    run_adapter(
        {
            "single": single,
            "concurrent": concurrent,
            "bulk": bulk,
            "drain": drain,
            "queues": drain,
            "pickup": pickup,
            "pickup1000": pickup1000,
            "waits": waits,
        },
        {"schema": schema, "waiting": waiting, "spread": spread, "future": future, "finished": finished},
    )
