"""I23: a worker stops in time, also when its database cannot be reached in whatever way (F8b, F20)."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import pytest

from jobplane import JobQueue, Worker
from jobplane.events import JobStarted
from tests.proxy import Proxy
from tests.support import SLACK, Recorder


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be cut."""
    async with Proxy(database_url) as proxy:
        yield proxy


@pytest.mark.parametrize("trouble", ["cut", "stop_up", "lose_answers"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
async def test_stopping_takes_no_longer_than_the_grace_and_a_second_when_the_network_is_broken(
    queue: JobQueue, make_worker: Callable[..., Worker], proxy: Proxy, trouble: str, *, busy: bool
) -> None:
    @queue.task
    async def work() -> None:
        if busy:
            await asyncio.Event().wait()

    worker = make_worker(queue, url=proxy.url)
    recorder = Recorder(worker.events, JobStarted)
    await work.enqueue()
    await worker.start()
    await recorder.wait_for(JobStarted)

    getattr(proxy, trouble)()
    before = time.monotonic()
    await worker.stop(grace=0.3)
    took = time.monotonic() - before

    assert took < (0.3 + 1) * SLACK
