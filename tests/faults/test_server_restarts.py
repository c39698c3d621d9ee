"""The server crashes, is killed and is restarted under load (F6): nothing acknowledged is lost (I1, I2, I5)."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from jobplane import DatabaseSettings
from jobplane.embedded import EmbeddedServer
from jobplane.embedded.postmaster import is_server, until
from jobplane.store.migrator import Migrator
from tests.faults.run import PROFILE, SLOTS, FaultRun

ENQUEUERS: Final = 4
WAYS: Final = ("immediate", "kill", "fast")


@pytest.fixture
def mortal_server() -> Iterator[EmbeddedServer]:
    """A server of the test's own with fsync on, that may be restarted."""
    bin_dir = os.environ.get("JOBPLANE_TEST_BIN_DIR")
    with tempfile.TemporaryDirectory(prefix="jobplane-mortal-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedServer(Path(folder) / "data", bin_dir=Path(bin_dir) if bin_dir else None)
        with server:
            yield server


async def test_f6_the_server_restarts_under_load(
    mortal_server: EmbeddedServer, start_run: Callable[[str, str], FaultRun]
) -> None:
    """Crash, kill -9 of the postmaster and fast restart in turn, while clients enqueue under keys and workers work."""
    await Migrator(DatabaseSettings(url=mortal_server.url())).up()
    async with start_run("f6_the_server_restarts_under_load", mortal_server.url()) as run:
        for _ in range(2):
            run.spawn()
        await run.ready()
        over = asyncio.Event()
        enqueuers = [asyncio.create_task(_enqueue_until(run, over, number)) for number in range(ENQUEUERS)]
        outages, slowest = [], 0.0
        ways = [*WAYS] * (40 if run.long else 1)
        run.random.shuffle(ways)
        for way in ways:
            # Time for load between two outages is part of the fault.
            await asyncio.sleep(run.random.uniform(5, 15) if run.long else run.random.uniform(1.5, 3))
            gone = time.monotonic()
            await asyncio.to_thread(_restart, mortal_server, way)
            outages.append(time.monotonic() - gone)
            slowest = max(slowest, await _until_work_goes_on(run))
        over.set()
        wished = sum(await asyncio.gather(*enqueuers))
        await run.settle(20)

        figures = await run.verdict(
            outages=len(outages), longest_outage=f"{max(outages):.2f} s", back_after=f"{slowest:.2f} s"
        )
    assert figures.completions == wished, "calls without an answer ended as exactly one job"
    assert slowest <= 2
    heartbeats_missed = PROFILE.lease - PROFILE.heartbeat_interval
    longer = [outage for outage in outages if outage >= heartbeats_missed.total_seconds()]
    assert figures.extra_executions <= len(longer) * 2 * SLOTS


def _restart(server: EmbeddedServer, way: str) -> None:
    if way == "immediate":
        server.restart("immediate")
    elif way == "fast":
        server.restart("fast")
    else:
        pid = server.postmaster_pid
        os.kill(pid, signal.SIGKILL)
        gone = until(lambda: not is_server(pid, server.data_dir))
        assert gone, "the postmaster outlived its kill"
        server.start()


async def _enqueue_until(run: FaultRun, over: asyncio.Event, number: int) -> int:
    count = 0
    while not over.is_set():
        key = f"{number} {count}"
        await run.client.enqueue_surely("work", {"seconds": 0.05}, key=key, max_attempts=50)
        count += 1
    return count


async def _until_work_goes_on(run: FaultRun) -> float:
    """Seconds from the server's being ready to the first outcome that it stored."""
    ready = time.monotonic()
    before = await run.count("completed")

    async def more() -> bool:
        return await run.count("completed") > before

    await run.until(more, "work to go on after the server's return")
    return time.monotonic() - ready
