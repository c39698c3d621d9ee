"""The network between workers, clients and the server (F8): cuts, holes, lost answers, slowness (I1, I2, I5 to I9)."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final

from jobplane import DatabaseSettings, JobQueue
from tests.faults.clients import JournallingClient, jobs_of
from tests.faults.load import Load
from tests.faults.proxy import End, FaultProxy, Weather
from tests.faults.run import GRACE, PROFILE, FaultRun

NOTICED: Final = 10.0
"""Seconds within which a hole must be noticed: the default of network_timeout."""
SLOW: Final = replace(PROFILE, lease=timedelta(seconds=10), heartbeat_interval=timedelta(seconds=2))
"""Latency does not shrink with the test profile's leases: this one has the proportions of production."""


async def test_f8a_connections_cut_at_random_bytes(fault_run: FaultRun) -> None:
    """All connections of 2 workers and of the clients end by RST or FIN, in the middle of whatever they say."""
    run = fault_run
    async with FaultProxy(run.url, run.random) as proxy, _client(run, proxy.url) as client:
        for _ in range(2):
            run.spawn(url=proxy.url)
        await run.ready()
        proxy.cut_after(_somewhere)
        async with Load(run, 4, client=client) as load:
            # How long it goes on is the load of the scenario.
            await asyncio.sleep(60 if run.long else 10)
        proxy.heal()
        await run.settle()
        figures = await run.verdict(connections_cut=proxy.ended)
    assert proxy.ended > 20
    assert figures.completions == load.enqueued
    assert figures.extra_executions == 0


async def test_f8b_a_worker_in_a_black_hole(fault_run: FaultRun) -> None:
    """Nothing passes and nothing ends: noticed in 10 s; others take over; its handlers stop; SIGTERM ends it in time."""
    run, jobs = fault_run, 6
    async with FaultProxy(run.url, run.random) as proxy:
        cut_off = run.spawn(url=proxy.url, JOBPLANE_QUEUES="left:8")
        to_be_stopped = run.spawn(url=proxy.url, JOBPLANE_QUEUES="right:8")
        await run.ready()
        for queue in ("left", "right"):
            wishes = jobs_of("work", [{"seconds": 6.0}] * (jobs // 2), queue=queue, max_attempts=50)
            await run.client.enqueue_many(wishes)
        await run.started(jobs)
        run.spawn(JOBPLANE_QUEUES="left:8,right:8")  # can take over all of them
        await run.ready()

        proxy.blackhole()
        hole, by_the_wall = time.monotonic(), time.time()
        code = await run.stop(to_be_stopped)
        stopping = time.monotonic() - hole

        async def all_given_up() -> bool:
            return proxy.open_since_before(hole) == 0

        await run.until(all_given_up, "connections into the hole to be given up", NOTICED + 2)
        noticed = time.monotonic() - hole
        await asyncio.sleep(max(30 - noticed, 0) if run.long else 0)
        proxy.heal()
        await run.completed(jobs)
        told = [
            float(str(entry["at"])) - by_the_wall
            for entry in run.journal.entries("cancelled")
            if entry["pid"] == cut_off.pid
        ]
        # It works again.
        for worker in run.workers[1:]:
            await run.stop(worker)
        await run.client.enqueue("work", {}, key="after the hole", queue="left")
        await run.settle()
        figures = await run.verdict(
            noticed_after=f"{noticed:.1f} s",
            handlers_stopped_after=f"{max(told, default=0):.2f} s",
            sigterm_took=f"{stopping:.2f} s",
        )
    assert figures.completions == jobs + 1
    assert noticed <= NOTICED
    assert code == 0
    assert stopping <= GRACE + 1
    assert len(told) == jobs // 2
    assert max(told) <= PROFILE.lease.total_seconds() + 0.5
    assert figures.overlaps == 0, "I9: it let go before others began"


async def test_f8c_lost_answers(fault_run: FaultRun) -> None:
    """The server commits an enqueue, a claim, a completion, and its answer is lost."""
    run = fault_run
    each = 200 if run.long else 20
    async with FaultProxy(run.url, run.random) as proxy, _client(run, proxy.url) as client:
        for number in range(each):
            proxy.lose_answers("jobplane: job/insert")
            await client.enqueue_surely("work", {}, key=f"lost {number}", max_attempts=50)
        enqueues_lost = proxy.swallowed
        made = await run.fetchval("SELECT count(*) FROM control_plane.jobs")

        proxy.lose_answers("jobplane: job/claim", each // 10)
        worker = run.spawn(url=proxy.url, JOBPLANE_PREFETCH="0")
        await run.completed(each)
        claims_lost = proxy.swallowed - enqueues_lost
        rescued = (await run.history()).transitions

        proxy.lose_answers("jobplane: job/complete", each)
        await run.client.enqueue_many(jobs_of("work", [{"seconds": 0.2}] * each, max_attempts=50))
        await run.completed(2 * each)
        await run.settle()
        completes_lost = proxy.swallowed - enqueues_lost - claims_lost
        figures = await run.verdict(
            enqueues_lost=enqueues_lost, claims_lost=claims_lost, completes_lost=completes_lost
        )
    assert (enqueues_lost, made) == (each, each), "each key made one job"
    assert claims_lost == each // 10
    assert sum(event.verb == "rescue" for event in rescued) == figures.rescues > 0, (
        "only lost claims were taken back"
    )
    assert completes_lost > 0
    assert set(run.starts().values()) == {1}, "an answer that is lost costs no execution"
    assert "refused" not in worker.log.read_text(), "the worker learns that its completion had counted"


async def test_f8d_latency_and_a_low_rate(fault_run: FaultRun) -> None:
    """200 ms +-200 ms for each answer, then 10 KB/s: no lease runs out (I8)."""
    run = fault_run
    run.profile = SLOW
    async with AsyncExitStack() as stack:
        proxies = [await stack.enter_async_context(FaultProxy(run.url, run.random)) for _ in range(2)]
        for proxy in proxies:
            run.spawn(url=proxy.url)
        await run.ready()
        async with Load(run, 2, seconds=0.5) as load:
            for weather in (Weather(latency=0.1, jitter=0.1), Weather(rate=10_000)):
                for proxy in proxies:
                    proxy.change(weather)
                # How long the weather lasts is the load of the scenario.
                await asyncio.sleep(60 if run.long else 6)
        for proxy in proxies:
            proxy.heal()
        await run.settle()
        figures = await run.verdict()
    assert figures.completions == load.enqueued
    assert (figures.rescues, figures.extra_executions) == (0, 0)


def _somewhere(chance: random.Random) -> tuple[int, End]:
    return chance.randint(1_000, 60_000), chance.choice([End.RESET, End.FINISH])


@asynccontextmanager
async def _client(run: FaultRun, url: str) -> AsyncIterator[JournallingClient]:
    """A client that keeps the journal, by another way to the database."""
    async with JobQueue(settings=DatabaseSettings(url=url)) as queue:
        yield JournallingClient(queue, run.journal)
