"""Everything at once (F1 to F8, F12 and F35 in one run): a schedule of all faults, drawn from the seed, under steady load. All promises hold."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import timedelta

from tests.faults.load import Load
from tests.faults.mischief import Mischief
from tests.faults.nemesis import Fault, Nemesis, schedule, told
from tests.faults.proxy import FaultProxy
from tests.faults.restarts import migrate, mortal_server
from tests.faults.run import SLOTS, FaultRun

WORKERS = 3


def test_a_seed_says_which_faults_come_when() -> None:
    """The same schedule for the same seed, another for another, and every fault has its turn."""
    planned = schedule(random.Random("seed 1"), 600)

    assert [str(fault) for fault in planned] == [
        str(fault) for fault in schedule(random.Random("seed 1"), 600)
    ]
    assert [str(fault) for fault in planned] != [
        str(fault) for fault in schedule(random.Random("seed 2"), 600)
    ]
    assert {fault.fault for fault in planned} == set(Fault)


async def test_everything_at_once(start_run: Callable[[str, str], FaultRun]) -> None:
    """Kills, stops, zombies, terminated backends, restarts, cuts, holes and slowness, clocks that jump, words of strangers,
    forks, lost answers, ids that come back and other isolation levels, one or two seconds apart.
    """
    with mortal_server() as server:
        await migrate(server.url())
        async with (
            start_run("everything_at_once", server.url()) as run,
            FaultProxy(server.url(), run.random) as proxy,
            FaultProxy(server.url(), run.random) as way_of_others,
        ):
            mischief = Mischief(run, way_of_others)
            await mischief.begin()
            nemesis = Nemesis(run, server, proxy, mischief)
            planned = schedule(run.random, 1200 if run.long else 60)
            run.journal.write(event="schedule", says=told(planned))
            for _ in range(WORKERS):
                nemesis.spawn()
            await run.ready()
            await run.every_second("ticks", "default")
            async with Load(run, 4) as load:
                await nemesis.disturb(planned)
            run.allowance = timedelta(seconds=nemesis.longest_outage)
            await run.fetch("UPDATE control_plane.schedules SET paused_at = now()")
            await run.settle(30)
            await mischief.ended()
            figures = await run.verdict(
                longest_outage=f"{nemesis.longest_outage:.1f} s",
                faults=", ".join(f"{times} {fault}" for fault, times in sorted(nemesis.done.items())),
            )
    assert not mischief.found, f"seed {run.seed}: {mischief.found}"
    assert figures.completions >= load.enqueued
    assert figures.extra_executions <= len(planned) * WORKERS * SLOTS
