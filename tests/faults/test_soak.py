"""A long run with mild trouble (F34): nothing grows."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.load import Load
from tests.faults.run import FaultRun


@dataclass(frozen=True)
class Size:
    """What the workers and the server hold."""

    at: float
    memory: float
    """MB of the largest worker."""
    files: int
    backends: int
    dead: int
    rows: int


async def test_f34_a_soak(fault_run: FaultRun) -> None:
    """Steady load, and every few seconds a backend of a worker is terminated."""
    run = fault_run
    seconds, warm_up = (3600.0, 300.0) if run.long else (45.0, 15.0)
    for _ in range(3):
        run.spawn(slots=4)
    await run.ready()
    sizes: list[Size] = []
    began = time.monotonic()
    async with Load(run, 4, seconds=0.01) as load:
        while time.monotonic() < began + seconds:
            # The pace of the trouble, and of the looks.
            await asyncio.sleep(run.random.uniform(1, 3))
            await run.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name LIKE 'jobplane %' ORDER BY random() LIMIT 1"
            )
            if time.monotonic() > began + warm_up:
                sizes.append(_size(run, *await _of_the_server(run)))
    await run.settle()

    half = len(sizes) // 2
    early, late = sizes[:half], sizes[half:]
    first, last = (min(size.memory for size in part) for part in (early, late))
    figures = await run.verdict(
        memory=f"{first:.1f} to {last:.1f} MB",
        files=f"{max(size.files for size in early)} to {max(size.files for size in late)}",
        backends=f"{max(size.backends for size in early)} to {max(size.backends for size in late)}",
        dead_rows=f"{max(size.dead for size in late)} beside {late[-1].rows}",
    )
    assert figures.completions >= load.enqueued
    minutes = (late[-1].at - early[0].at) / 60 / 2
    # Short runs see the noise of the allocator; what leaks a kilobyte for each job would show all the same.
    assert last - first <= (max(minutes / 10, 1.0) if run.long else 3.0)
    assert max(size.files for size in late) <= max(size.files for size in early) + 3
    assert max(size.backends for size in late) <= max(size.backends for size in early) + 3
    assert max(size.dead for size in late) <= 20_000 + 0.5 * late[-1].rows


async def _of_the_server(run: FaultRun) -> tuple[int, int, int]:
    (row,) = await run.fetch(
        "SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND application_name LIKE 'jobplane %') AS backends, n_dead_tup AS dead, n_live_tup AS rows "
        "FROM pg_stat_user_tables WHERE relid = 'control_plane.jobs'::regclass"
    )
    return row["backends"], row["dead"], row["rows"]


def _size(run: FaultRun, backends: int, dead: int, rows: int) -> Size:
    processes = [Path(f"/proc/{worker.pid}") for worker in run.workers]
    pages = max(int((process / "statm").read_text().split()[1]) for process in processes)
    return Size(
        at=time.monotonic(),
        memory=pages * os.sysconf("SC_PAGE_SIZE") / 1024**2,
        files=max(len([*(process / "fd").iterdir()]) for process in processes),
        backends=backends,
        dead=dead,
        rows=rows,
    )
