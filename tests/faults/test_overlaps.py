"""Two executions of a job never overlap (I9), whatever ends the first: deadlines, SIGTERM, kills, holes, clocks that jump.

No process is stopped here: one that is, goes on from where it was until it learns of its loss (F3).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

from tests.faults.clients import jobs_of
from tests.faults.nemesis import Fault
from tests.faults.proxy import FaultProxy
from tests.faults.run import FaultRun
from tests.faults.skewed import CLOCKS, skewed
from tests.support import WorkerProcess

TYPES: Final = (
    "on_the_loop",
    "too_long_on_the_loop",
    "in_a_thread",
    "deaf_in_a_thread",
    "too_long_and_deaf_in_a_thread",
)
HEARS_NOTHING: Final = frozenset({"deaf_in_a_thread", "too_long_and_deaf_in_a_thread"})
"""Nobody can stop these when the lease is lost, and it is lost in the worker that is cut off."""
LONGEST: Final = 1.5
"""Seconds that a job takes at most."""
HOLE: Final = 3.5
"""Seconds: longer than a lease, a sweep and a poll, so that others take over while the first worker is cut off."""


async def test_executions_of_a_job_do_not_overlap(
    start_run: Callable[[str, str], FaultRun], database_url: str
) -> None:
    async with (
        start_run("overlaps", database_url) as run,
        FaultProxy(database_url, run.random) as proxy,
    ):
        clocks: dict[int, Path] = {}

        def spawn(number: int, *, cut: bool = False) -> WorkerProcess:
            clocks[number] = run.folder / f"clock-{number}"
            clocks[number].write_text(f"{run.random.choice(CLOCKS)}\n")
            return run.spawn(
                targets="tests.faults.handlers_overlap:watched",
                url=proxy.url if cut else None,
                JOBPLANE_GRACE="0.3",
                JOBPLANE_THREADS="16",
                **skewed(clocks[number]),
            )

        behind_the_proxy = spawn(0, cut=True)
        others = {1: spawn(1), 2: spawn(2)}
        await run.ready()
        rounds = 60 if run.long else 12
        for number in range(rounds):
            await run.queue.enqueue_many(
                [
                    job
                    for type_ in TYPES
                    for job in jobs_of(
                        type_, [{"seconds": run.random.uniform(0.1, LONGEST)} for _ in range(6)]
                    )
                ]
            )
            fault = run.random.choice([Fault.KILL, Fault.STOP, Fault.STOP, Fault.HOLE])
            clocks[run.random.choice(list(clocks))].write_text(f"{run.random.choice(CLOCKS)}\n")
            run.journal.write(event="fault", says=f"{number}: {fault}")
            if fault is Fault.HOLE:
                up, down = run.random.choice([(True, True), (True, False), (False, True)])
                proxy.blackhole(up=up, down=down)
                await asyncio.sleep(HOLE)
                proxy.heal()
            else:
                await asyncio.sleep(run.random.uniform(0.3, 1.0))
                victim = run.random.choice([1, 2])
                end = run.kill if fault is Fault.KILL else run.stop
                await end(others[victim])
                others[victim] = spawn(victim)
        await run.settle(60)
        # All slots may be taken by jobs that last 1.5 s: a rescued one waits for a free slot as every other.
        run.allowance = timedelta(seconds=LONGEST)

        assert behind_the_proxy.process.poll() is None
        found = overlaps(run, behind_the_proxy.pid)
        assert not found, f"{run.name}, seed {run.seed}: {len(found)} overlaps\n" + "\n".join(found[:20])
        await run.verdict()


def overlaps(run: FaultRun, cut_off: int | None = None) -> list[str]:
    """Lines that a handler wrote after a later execution of the same job had begun.

    Those of a thread in the process that was `cut_off` do not count: nothing could have stopped it.
    """
    lines: defaultdict[str, list[dict[str, object]]] = defaultdict(list)
    for entry in run.journal.entries():
        if "moment" in entry:
            lines[str(entry["job"])].append(entry)
    return [
        f"{start['type']} {job}: epoch {line['epoch']} went on for "
        f"{cast('float', line['moment']) - cast('float', start['moment']):.2f} s beside epoch {start['epoch']}"
        for job, told in lines.items()
        for start in told
        if start["event"] == "start"
        for line in told
        if cast("int", line["epoch"]) < cast("int", start["epoch"])
        and cast("float", line["moment"]) > cast("float", start["moment"])
        and not (line["pid"] == cut_off and line["type"] in HEARS_NOTHING)
    ]
