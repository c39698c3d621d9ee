"""The frame of an adapter: `python -m bench.adapters.<system> <phase> <url> <jobs>` prints one result as JSON.

Between the harness and an adapter, a line each: the adapter is `ready`, the harness says go; where jobs are drained,
the adapter tells how many it has `done` and the harness says when all are. Without a harness (no input) it just goes.
Standard library alone: the environments of other systems run this file too.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

Measure = Callable[[str, int], Awaitable[Mapping[str, float]]]
Prepare = Callable[[str, int], Awaitable[None]]
PROJECT: Final = "0190b0c2-7f6e-7c3e-8a53-0123456789ab"
TASKS: Final = 100  # of `concurrent`
WAIT: Final = 0.001  # seconds that a job of `waits` takes
QUEUES: Final = 10
PRIORITIES: Final = 5
PATIENCE: Final = 20.0  # seconds for the last jobs of a steady load


class Stopwatch:
    """Wall and processor time from here on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def per(self, jobs: int) -> dict[str, float]:
        """Rate and microseconds of processor time for so many jobs."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"rate": jobs / wall, "cpu": cpu / jobs * 1e6}


class Skipped(Exception):  # noqa: N818 - not an error: a figure that this system does not have
    """Why a phase cannot be measured."""


async def begin() -> Stopwatch:
    """Everything is set up: wait for the word to go."""
    _tell({"ready": True})
    await asyncio.to_thread(_hear)
    return Stopwatch()


class Tally:
    """What this process has done of all the jobs, which several processes may share.

    A silent one is for phases that give their figures themselves.
    """

    def __init__(self, jobs: int, *, silent: bool = False) -> None:
        self.done = 0
        self._told = 0
        self._jobs = jobs
        self._silent = silent
        self.complete = asyncio.Event()
        """Set once all are done here."""

    def add(self, jobs: int = 1) -> None:
        """So many more are done."""
        self.done += jobs
        if self.done >= self._jobs:
            self.complete.set()
            if not self._silent:
                self._tell()

    async def drained(self) -> None:
        """Tell what is done until the harness says that all is. Without a harness, until all is done here."""
        word = asyncio.create_task(asyncio.to_thread(_hear))
        while not word.done() or (not word.result() and self.done < self._jobs):
            if self._told != self.done:
                self._tell()
            await asyncio.sleep(0.01)

    def _tell(self) -> None:
        self._told = self.done
        _tell({"done": self.done})


class Arrivals:
    """How long each job took from its enqueueing to its start."""

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._milliseconds: list[float] = []
        self._all = asyncio.Event()

    def note(self, sent: float) -> None:
        """A job that was sent then starts now."""
        self._milliseconds.append((time.perf_counter() - sent) * 1000)
        if len(self._milliseconds) >= self._jobs:
            self._all.set()

    async def figures(self, seconds: float = 0.0) -> dict[str, float]:
        """Median and 99th percentile, once all have started. Raises Skipped when they do not.

        `seconds`: how long they are still being sent.
        """
        try:
            await asyncio.wait_for(self._all.wait(), seconds + PATIENCE)
        except TimeoutError:
            started = len(self._milliseconds)
            raise Skipped(f"falls behind: {started} of {self._jobs} jobs started") from None
        return percentiles(self._milliseconds)


def percentiles(milliseconds: Sequence[float]) -> dict[str, float]:
    """Median and 99th percentile."""
    ordered = sorted(milliseconds)
    return {
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)],
    }


async def paced(jobs: int, rate: float, produce: Callable[[], Awaitable[None]]) -> None:
    """Call `produce` so many times, evenly spread over time."""
    start = time.perf_counter()
    for number in range(jobs):
        pause = start + number / rate - time.perf_counter()
        if pause > 0:
            await asyncio.sleep(pause)
        await produce()


async def steady(jobs: int, rate: float, produce: Callable[[float], Awaitable[object]]) -> None:
    """As `paced`, but nobody waits for the one before: each call is made when it is due, and gets that time."""
    start = time.perf_counter()
    calls: set[asyncio.Future[object]] = set()
    for number in range(jobs):
        due = start + number / rate
        if (pause := due - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        call = asyncio.ensure_future(produce(due))
        calls.add(call)
        call.add_done_callback(calls.discard)
    await asyncio.gather(*calls)


async def together(jobs: int, produce: Callable[[], Awaitable[object]]) -> None:
    """Call `produce` so many times in all, from a hundred tasks, each of which waits for its own calls."""

    async def task(calls: int) -> None:
        for _ in range(calls):
            await produce()

    share, rest = divmod(jobs, TASKS)
    await asyncio.gather(*(task(share + (number < rest)) for number in range(TASKS)))


def run_adapter(measures: Mapping[str, Measure], grounds: Mapping[str, Prepare] | None = None) -> None:
    """The command line of an adapter: measure, or prepare what a measurement finds there."""
    verb, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    try:
        if verb in measures:
            _tell(asyncio.run(_run(measures[verb](url, jobs))))
            _hear()  # stay to be looked at
        elif grounds and verb in grounds:
            asyncio.run(_run(grounds[verb](url, jobs)))
            _tell({"prepared": verb})
        else:
            _tell({"skipped": f"has no {verb}"})
    except Skipped as reason:
        _tell({"skipped": str(reason)})


async def _run(work: Awaitable[Mapping[str, float] | None]) -> Mapping[str, float]:
    return await work or {}


def _hear() -> str:
    return "" if sys.stdin.isatty() else sys.stdin.readline()


def _tell(line: Mapping[str, object]) -> None:
    print(json.dumps(line), flush=True)
