"""Waking workers (F26): without notifications jobs start within a poll interval, and notifying costs enqueuers little (I13)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median, quantiles
from typing import Final

import asyncpg
import pytest

from jobplane import JobQueue
from jobplane.client.notifier import Notifier
from jobplane.sql import channel
from tests.faults.run import PROFILE, FaultRun
from tests.proxy import Proxy

ENQUEUERS: Final = 16
POLL: Final = PROFILE.poll_interval.total_seconds()


class DeafProxy(Proxy):
    """Passes everything but on connections that listen: those fall silent with LISTEN, and stay open."""

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while data := await reader.read(65536):
                if b"LISTEN" in data and not answers:
                    await asyncio.Event().wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return  # the other end is gone


@pytest.mark.parametrize("trouble", ["no_notify", "deaf_listener"])
async def test_f26_polling_alone(fault_run: FaultRun, trouble: str) -> None:
    """Nobody notifies, or a worker cannot hear."""
    run, jobs = fault_run, 300 if fault_run.long else 20
    async with DeafProxy(run.url) as proxy:
        run.spawn(url=proxy.url if trouble == "deaf_listener" else None)
        await run.ready()
        inserted: dict[str, float] = {}
        for _ in range(jobs):
            # As soon as the last has begun: polls then fall anywhere into the wait.
            inserted[await _insert(run, notify=trouble == "deaf_listener")] = time.time()
            await run.started(len(inserted))
            await asyncio.sleep(run.random.uniform(0, POLL / 2))
        await run.settle()
        began = {str(entry["job"]): float(str(entry["at"])) for entry in run.journal.entries("start")}
        latencies = [began[job_id] - at for job_id, at in inserted.items()]
        await run.verdict(p90=f"{quantiles(latencies, n=10)[8]:.2f} s", longest=f"{max(latencies):.2f} s")
    assert quantiles(latencies, n=10)[8] <= POLL + 0.2
    assert max(latencies) <= POLL + 1


async def test_f26_the_price_of_notifying(fault_run: FaultRun) -> None:
    """16 enqueuers in turns with wake-ups and without, beside a listener.

    A worker would take a part of this machine, and a larger one when it is woken: it comes afterwards.
    """
    run = fault_run
    payloads: list[str] = []
    listener = await asyncpg.connect(run.url)
    await listener.add_listener(
        channel("control_plane"), lambda _connection, _pid, _channel, payload: payloads.append(str(payload))
    )
    rates: dict[bool, list[float]] = {True: [], False: []}
    usage = 0.0
    for turn in range(20 if run.long else 5):
        for wakes in (True, False):
            rates[wakes].append(await _rate(run, f"{turn} {wakes}", wakes=wakes))
            usage = max(usage, float(await listener.fetchval("SELECT pg_notification_queue_usage()")))
    await listener.close()
    for _ in range(2):
        run.spawn(slots=50)
    await run.settle(100)

    ratio = median(with_ / without for with_, without in zip(rates[True], rates[False], strict=True))
    await run.verdict(
        with_notify=f"{median(rates[True]):.0f}/s",
        without=f"{median(rates[False]):.0f}/s",
        ratio=f"{ratio:.2f}",
    )
    assert ratio >= 0.8
    assert usage < 0.01
    assert payloads
    assert max(map(len, payloads)) < 200
    assert len(payloads) < await run.count("completed"), "one wake-up for all jobs of some milliseconds"


async def _insert(run: FaultRun, *, notify: bool) -> str:
    if notify:
        return str((await run.client.enqueue("work", {}, key=f"deaf {time.monotonic_ns()}")).id)
    with _silenced():
        return str((await run.client.enqueue("work", {}, key=f"silent {time.monotonic_ns()}")).id)


async def _rate(run: FaultRun, name: str, *, wakes: bool) -> float:
    """Acknowledged jobs a second."""
    seconds, count = 1.0, 0
    began = time.monotonic()

    async def enqueue(queue: JobQueue, caller: int) -> None:
        nonlocal count
        turn = 0
        while time.monotonic() < began + seconds:
            await run.client.enqueue("work", {}, key=f"{name} {caller} {turn}")
            count, turn = count + 1, turn + 1

    with _silenced(not wakes):
        await asyncio.gather(*(enqueue(run.queue, caller) for caller in range(ENQUEUERS)))
    return count / (time.monotonic() - began)


def _wake_nobody(self: Notifier, queue: str) -> None:
    """In place of Notifier.wake."""


@contextmanager
def _silenced(silent: bool = True) -> Iterator[None]:  # noqa: FBT001, FBT002 - reads as a sentence
    """The other side of the comparison: a client that wakes nobody."""
    wake = Notifier.wake
    if silent:
        Notifier.wake = _wake_nobody  # type: ignore[method-assign]
    try:
        yield
    finally:
        Notifier.wake = wake  # type: ignore[method-assign]
