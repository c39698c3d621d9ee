"""Clocks that are wrong, jump and step back, of workers (F12) and of the server (F12b): only the database's decides (I13, I21)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from jobplane import DatabaseSettings
from jobplane.embedded import EmbeddedServer
from jobplane.history.record import ExecutionEvent
from jobplane.store.migrator import Migrator
from tests.faults.clusters import test_programs
from tests.faults.programs import LIBFAKETIME, need
from tests.faults.run import SLOTS, FaultRun
from tests.faults.skewed import skewed
from tests.support import WorkerProcess, until

SKEWS: Final = ("+1h", "-1h", "+1d")
STEP_BACK: Final = "-10m"


def spawn_in(run: FaultRun, offset: Path) -> WorkerProcess:
    """A worker whose wall clock is off by what a file says, at any moment."""
    return run.spawn(**skewed(offset))


async def test_f12_workers_whose_clocks_are_wrong(fault_run: FaultRun) -> None:
    """One an hour ahead, one behind, one a day ahead, and one that steps back ten minutes in the middle."""
    run = fault_run
    offsets = []
    for number, skew in enumerate((*SKEWS, "+0")):
        offset = run.folder / f"offset-{number}"
        offset.write_text(f"{skew}\n")
        offsets.append(offset)
        spawn_in(run, offset)
    await run.ready()
    jobs, spread = (3000, 60.0) if run.long else (300, 6.0)
    await run.every_second("pulse", "default")

    for number in range(jobs):
        await run.client.enqueue_surely(
            "work", {"seconds": 0.05}, key=f"{number}", delay=run.random.uniform(0.0, spread), max_attempts=3
        )
        if number == jobs // 2:
            offsets[-1].write_text(f"{STEP_BACK}\n")
    await run.completed(jobs, spread + 60)
    await run.queue.pause_schedule("pulse")
    ticks = await run.fetchval("SELECT count(*) FROM control_plane.schedule_ticks WHERE schedule = 'pulse'")
    await run.completed(jobs + ticks)
    await run.settle()

    history = await run.history()
    away = {
        execution.pid: execution.at
        for execution in history.executions
        if execution.event is ExecutionEvent.START
    }
    now = history.now.timestamp()
    skews = sorted(round((at - now) / 600) for at in away.values())
    found = await run.verdict(ticks=ticks, clocks=" ".join(f"{skew / 6:+.1f} h" for skew in skews))
    early = await run.fetchval(
        "SELECT count(*) FROM control_plane.job_events WHERE verb = 'claim' AND at < scheduled_at"
    )
    assert skews[0] <= -5, "the clocks were wrong indeed"
    assert skews[-1] >= 140
    assert early == 0
    assert found.extra_executions == 0
    assert ticks >= spread / 2
    assert found.completions == jobs + ticks


async def test_f12b_the_servers_clock_jumps_ahead(
    start_run: Callable[[str, str], FaultRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By an hour: every lease seems to be over. What was in flight may run once more, and ends once."""
    library = need(LIBFAKETIME)
    with tempfile.TemporaryDirectory(prefix="jobplane-clock-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o755)
        offset = folder / "offset"
        offset.write_text("+0\n")
        server = EmbeddedServer(folder / "data", bin_dir=test_programs())
        with monkeypatch.context() as environment:
            for variable, value in {
                "LD_PRELOAD": library,
                "FAKETIME_TIMESTAMP_FILE": str(offset),
                # For all of its processes at one moment, as a machine's clock does.
                "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "DONT_FAKE_MONOTONIC": "1",
            }.items():
                environment.setenv(variable, value)
            server.start()
        try:
            await Migrator(DatabaseSettings(url=server.url())).up()
            async with start_run("f12b_the_servers_clock_jumps_ahead", server.url()) as run:
                for _ in range(2):
                    run.spawn()
                await run.ready()
                for number in range(60):
                    await run.client.enqueue("work", {"seconds": 1.0}, key=f"{number}", max_attempts=5)
                before = await run.fetchval("SELECT extract(epoch FROM now())")
                await run.started(SLOTS)

                offset.write_text("+1h\n")
                after = await _jumped(run, before)
                await run.completed(60, 60)
                await run.settle()

                # What was in flight was taken back after an hour and a second, by the clock that jumped.
                run.allowance = timedelta(seconds=after - before)
                found = await run.verdict(jumped=f"{after - before} s")
        finally:
            server.stop()
    assert after - before >= 3600
    assert found.extra_executions <= 2 * SLOTS
    assert found.completions == 60


async def _jumped(run: FaultRun, before: int) -> int:
    """The server's time once it has jumped."""

    async def later() -> int | None:
        now = await run.fetchval("SELECT extract(epoch FROM now())")
        return now if now >= before + 3600 else None

    return await until(later)
