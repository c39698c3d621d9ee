"""The frame of an adapter: `python -m bench.adapters.<system> <phase> <url> <jobs>` prints one Result as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

Measure = Callable[[str, int], Awaitable[Mapping[str, float]]]


class Stopwatch:
    """Wall and processor time from here on."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    def per(self, jobs: int) -> dict[str, float]:
        """Rate and microseconds of processor time for so many jobs."""
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return {"rate": jobs / wall, "cpu": cpu / jobs * 1e6}


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


def run_adapter(measures: Mapping[str, Measure]) -> None:
    """The command line of an adapter."""
    phase, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print(json.dumps(asyncio.run(_run(measures[phase], url, jobs))))


async def _run(measure: Measure, url: str, jobs: int) -> Mapping[str, float]:
    return await measure(url, jobs)
