"""While a full claim takes its time, jobs behind the marks start all the same; what only it finds starts when it ends.

Here full claims count as slow because the test says so. What makes them count as slow in production is the business of
unit/test_low_water.py, and what that gains is measured by bench/micro/look_back.py.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

import pytest

from jobplane import JobQueue, JobStatus, Worker
from jobplane.events import ServiceFailed
from jobplane.job import Claim
from jobplane.store.store import Store
from jobplane.worker import claimer
from jobplane.worker.low_water import ClaimTimes, LowWater, Mark
from tests.factories import SQL, make_job, row_of
from tests.support import Recorder, until


class AlwaysSlow(ClaimTimes):
    """Full claims are slow, however long they take on this machine."""

    def excess(self) -> float:
        return math.inf


class FullClaims:
    """The real claims. Once the claimer has gone on behind its marks, full ones can be held up, and made to fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.went_on = False
        self.held = 0
        self.hold = False
        self.fail = False
        self.let_go = asyncio.Event()
        self._claim = Store.claim
        owner = self

        async def claim(
            store: Store,
            queue: str,
            types: Sequence[str],
            worker_id: str,
            lease: timedelta,
            limit: int,
            *,
            beyond: Sequence[tuple[int, Mark]] = (),
        ) -> list[Claim]:
            if beyond:
                owner.went_on = True
            elif owner.hold and owner.went_on:
                await owner._held()
            return await owner._claim(store, queue, types, worker_id, lease, limit, beyond=beyond)

        monkeypatch.setattr(Store, "claim", claim)

    async def _held(self) -> None:
        self.held += 1
        await self.let_go.wait()
        if self.fail:
            raise ConnectionResetError("the network went away")


@pytest.fixture
def claims(monkeypatch: pytest.MonkeyPatch) -> FullClaims:
    monkeypatch.setattr(claimer, "LowWater", partial(LowWater, times=AlwaysSlow()))
    return FullClaims(monkeypatch)


async def _until_it_goes_on(queue: JobQueue, claims: FullClaims) -> None:
    async def it_goes_on() -> bool:
        made = await queue.enqueue("work")
        await queue.wait(made.id, 10)
        return claims.went_on

    claims.hold = True
    await until(it_goes_on)

    async def it_looks_back() -> bool:
        return claims.held > 0

    await until(it_looks_back)


async def test_jobs_start_while_a_full_claim_is_under_way(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, claims: FullClaims
) -> None:
    @queue.task
    async def work() -> None: ...

    async with make_worker(queue, poll_interval=0.2):
        await _until_it_goes_on(queue, claims)
        early = await make_job(sql, scheduled_at=timedelta(hours=-1))
        for _ in range(5):
            made = await queue.enqueue("work")
            await queue.wait(made.id, 10)

        assert claims.held == 1, "one look at a time"
        assert (await row_of(sql, early))["status"] == "pending"
        claims.hold = False
        claims.let_go.set()
        assert (await queue.wait(early, 10)).status is JobStatus.COMPLETED


async def test_a_look_back_that_fails_says_so_and_the_next_finds_what_there_is(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, claims: FullClaims
) -> None:
    @queue.task
    async def work() -> None: ...

    worker = make_worker(queue, poll_interval=0.2)
    recorder = Recorder(worker.events, ServiceFailed)
    async with worker:
        await _until_it_goes_on(queue, claims)
        early = await make_job(sql, scheduled_at=timedelta(hours=-1))
        claims.fail, claims.hold = True, False
        claims.let_go.set()

        failures = await recorder.wait_for(ServiceFailed)
        assert "the network went away" in str(failures[0].error)
        assert (await queue.wait(early, 10)).status is JobStatus.COMPLETED


async def test_what_a_look_back_brings_to_a_worker_that_stops_is_handed_back(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, claims: FullClaims
) -> None:
    """I20: nothing waits for its lease after an orderly stop."""

    @queue.task
    async def work() -> None: ...

    worker = make_worker(queue, poll_interval=0.2)
    async with worker:
        await _until_it_goes_on(queue, claims)
        early = await make_job(sql, scheduled_at=timedelta(hours=-1))
        stopping = asyncio.create_task(worker.stop())
        await asyncio.sleep(0)  # the order is given, and the claim comes back under it
        claims.let_go.set()
        await stopping

    row = await row_of(sql, UUID(int=early.int))
    assert (row["status"], row["attempts"]) == ("pending", 0)


async def test_a_lone_slot_is_never_given_twice(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, claims: FullClaims
) -> None:
    """I16: what a look back may bring counts as taken."""
    running = most = 0

    @queue.task
    async def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    async with make_worker(queue, queues="default:1", poll_interval=0.2, prefetch=0):
        await _until_it_goes_on(queue, claims)
        claims.hold = False
        claims.let_go.set()
        made = [await queue.enqueue("work") for _ in range(30)]
        for one in made:
            await queue.wait(one.id, 10)

    assert most == 1
