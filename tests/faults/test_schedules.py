"""Five schedulers that are killed, stopped, given wrong clocks, and lose their server (F23): each tick once (I17, I21)."""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobplane.embedded import EmbeddedServer
from tests.faults.restarts import WAYS, migrate, mortal_server, restart
from tests.faults.run import FaultRun
from tests.faults.test_clocks import spawn_in

OFFSETS: Final = ("+1h", "-1h", "+1d", "-10m", "+0")
STOPPED: Final = 4.0
"""Seconds at most: longer than a tick, and than the lease."""


async def test_f23_five_schedulers_make_every_tick_once(start_run: Callable[[str, str], FaultRun]) -> None:
    """One tick a second for 20 s (long: 120 s), each fault in its turn; two of the five have clocks that step."""
    with mortal_server() as server:
        await migrate(server.url())
        async with start_run("f23_five_schedulers", server.url()) as run:
            clocks = [run.folder / "clock-1", run.folder / "clock-2"]
            for clock in clocks:
                clock.write_text("+1h\n")
                spawn_in(run, clock)
            for _ in range(3):
                run.spawn()
            await run.ready()
            await run.every_second("ticks", "default")
            seconds = 120 if run.long else 20
            done: Counter[str] = Counter()
            kinds: list[str] = []
            while await _ticks(run) < seconds:
                if not kinds:
                    kinds = ["kill", "stop", "clock", "kill", "restart"]
                    run.random.shuffle(kinds)
                kind = kinds.pop()
                done[kind] += 1
                await _disturb(run, server, clocks, kind)
                # Time between two faults is part of them.
                await asyncio.sleep(run.random.uniform(0.2, 1.0))
            await run.fetch("UPDATE control_plane.schedules SET paused_at = now()")
            await run.settle(30)
            made = await _ticks(run)
            jobs = await run.count("completed")
            # Restarts take about as long, and so do the stops of whoever held a job.
            run.allowance = timedelta(seconds=3)

            await run.verdict(
                ticks=made, faults=", ".join(f"{times} {kind}" for kind, times in sorted(done.items()))
            )
    assert jobs == made >= seconds


async def _ticks(run: FaultRun) -> int:
    return await run.fetchval("SELECT count(*) FROM control_plane.schedule_ticks")


async def _disturb(run: FaultRun, server: EmbeddedServer, clocks: list[Path], kind: str) -> None:
    if kind == "kill":
        # Not one of those with a clock of its own: they are to last.
        await run.kill(run.random.choice(run.workers[len(clocks) :]))
        run.spawn()
    elif kind == "stop":
        # All but one, which then is the only scheduler.
        sleepers = run.random.sample(run.workers, len(run.workers) - 1)
        for sleeper in sleepers:
            sleeper.signal(signal.SIGSTOP)
        await asyncio.sleep(run.random.uniform(1.0, STOPPED))
        for sleeper in sleepers:
            sleeper.signal(signal.SIGCONT)
    elif kind == "clock":
        run.random.choice(clocks).write_text(f"{run.random.choice(OFFSETS)}\n")
    else:
        await asyncio.to_thread(restart, server, run.random.choice(WAYS))
