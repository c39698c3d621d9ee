"""procrastinate with its psycopg pool and many jobs at once in a worker."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]

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


class Target(Protocol):
    """A task with the place that its jobs go to."""

    async def defer_async(self, **arguments: object) -> int: ...

    async def batch_defer_async(self, *arguments: Mapping[str, object]) -> list[int]: ...


class Application(Protocol):
    """What we call of an App, but for its worker."""

    def configure_task(self, name: str, *, queue: str = ..., priority: int = ...) -> Target: ...

    def task(self, *, name: str) -> Callable[[Callable[..., Awaitable[None]]], object]: ...

    def run_worker_async(
        self,
        *,
        queues: list[str],
        concurrency: int,
        install_signal_handlers: bool,
        shutdown_graceful_timeout: float,
    ) -> Coroutine[None, None, None]: ...


CONCURRENCY = 20
CHUNK = 1000
PAYLOAD = {"project_id": PROJECT, "size": 12345678}
# One job, as often as is asked for.
BESIDE = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args, status, attempts, scheduled_at)
SELECT 'default', 'noop', %(args)s::jsonb, %(status)s::procrastinate_job_status, %(attempts)s,
    now() + make_interval(days => %(days)s)
FROM generate_series(1, %(jobs)s)
"""


async def single(url: str, jobs: int) -> dict[str, float]:
    """`await task.defer_async(...)`, one after the other."""
    async with _opened(url, 1) as app:
        defer = app.configure_task("noop").defer_async
        for _ in range(50):
            await defer(**PAYLOAD)
        watch = await begin()
        for _ in range(jobs):
            await defer(**PAYLOAD)
        return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """The same call from a hundred tasks, over a pool."""
    async with _opened(url, 10) as app:
        defer = app.configure_task("noop").defer_async
        watch = await begin()
        await together(jobs, lambda: defer(**PAYLOAD))
        return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """`await task.batch_defer_async(...)`, a thousand at a time."""
    async with _opened(url, 1) as app:
        watch = await begin()
        await _batches(app, jobs)
        return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """One worker runs everything that waits."""
    return await _drain(url, jobs, ["default"])


async def waits(url: str, jobs: int) -> dict[str, float]:
    """As `drain`, of jobs that take a millisecond."""
    return await _drain(url, jobs, ["default"], WAIT)


async def queues(url: str, jobs: int) -> dict[str, float]:
    """The same over ten queues."""
    return await _drain(url, jobs, [f"q{number}" for number in range(QUEUES)])


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """One by one at 100 a second; the handler notes when it starts."""
    arrivals = Arrivals(jobs)
    async with _opened(url, CONCURRENCY + 10) as app, _working(app, ["default"], arrivals.note):
        defer = app.configure_task("noop").defer_async

        async def produce() -> None:
            await defer(sent=time.perf_counter())

        await asyncio.sleep(1)  # until it listens
        await begin()
        await paced(jobs, 100, produce)
        return await arrivals.figures()


async def pickup1000(url: str, jobs: int) -> dict[str, float]:
    """1,000 a second, each call when it is due."""
    arrivals = Arrivals(jobs)
    async with _opened(url, CONCURRENCY + 10) as app, _working(app, ["default"], arrivals.note):
        defer = app.configure_task("noop").defer_async
        await asyncio.sleep(1)
        await begin()
        await steady(jobs, 1000, lambda due: defer(sent=due))
        return await arrivals.figures()


async def _drain(url: str, jobs: int, names: list[str], seconds: float = 0.0) -> dict[str, float]:
    tally = Tally(jobs)
    async with _opened(url, CONCURRENCY + 5) as app:
        watch = await begin()
        async with _working(app, names, lambda _sent: tally.add(), seconds):
            await tally.drained()
            return watch.per(jobs)


@asynccontextmanager
async def _opened(url: str, connections: int) -> AsyncIterator[Application]:
    app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=connections))
    async with app.open_async():
        yield app


@asynccontextmanager
async def _working(
    app: Application, names: list[str], handle: Callable[[float], None], seconds: float = 0.0
) -> AsyncIterator[None]:
    async def noop(sent: float = 0.0, **_payload: object) -> None:
        if seconds:
            await asyncio.sleep(seconds)
        handle(sent)

    app.task(name="noop")(noop)
    worker = app.run_worker_async(
        queues=names, concurrency=CONCURRENCY, install_signal_handlers=False, shutdown_graceful_timeout=1
    )
    working = asyncio.create_task(worker)
    yield
    working.cancel()
    await asyncio.wait([working])


async def _batches(app: Application, jobs: int) -> None:
    for first in range(0, jobs, CHUNK):
        await app.configure_task("noop").batch_defer_async(*[PAYLOAD] * min(CHUNK, jobs - first))


async def schema(url: str, _jobs: int) -> None:
    """As `procrastinate schema --apply`."""
    async with App(connector=PsycopgConnector(conninfo=url)).open_async() as app:
        await app.schema_manager.apply_schema_async()


async def waiting(url: str, jobs: int) -> None:
    """Jobs that are due."""
    async with _opened(url, 1) as app:
        await _batches(app, jobs)


async def spread(url: str, jobs: int) -> None:
    """Jobs of ten queues with five priorities."""
    async with _opened(url, 1) as app:
        for part in range(QUEUES * PRIORITIES):
            share = jobs // (QUEUES * PRIORITIES) + (part < jobs % (QUEUES * PRIORITIES))
            if share:
                target = app.configure_task("noop", queue=f"q{part % QUEUES}", priority=part // QUEUES)
                await target.batch_defer_async(*[PAYLOAD] * share)


async def future(url: str, jobs: int) -> None:
    """Jobs that are due tomorrow."""
    await _beside(url, jobs, "todo", days=1, attempts=0)


async def finished(url: str, jobs: int) -> None:
    """Jobs that succeeded."""
    await _beside(url, jobs, "succeeded", days=0, attempts=1)


async def _beside(url: str, jobs: int, status: str, *, days: int, attempts: int) -> None:
    connector = PsycopgConnector(conninfo=url)
    async with App(connector=connector).open_async():
        await connector.execute_query_async(
            BESIDE, args=json.dumps(PAYLOAD), status=status, days=days, attempts=attempts, jobs=jobs
        )


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
