"""Draws a schedule of faults from the seed of a run, and carries it out: what happens when is known before it begins.

The same seed gives the same schedule. What the faults meet (which jobs are in flight) is up to the machine.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from jobplane.embedded import EmbeddedServer
from tests.faults.mischief import NARROW, Mischief
from tests.faults.proxy import End, FaultProxy, Weather
from tests.faults.restarts import WAYS, restart
from tests.faults.run import PROFILE, SLOTS, FaultRun
from tests.faults.skewed import CLOCKS, skewed
from tests.support import WorkerProcess


class Fault(StrEnum):
    """What the nemesis does."""

    KILL = "kill"
    """SIGKILL for a worker, which is replaced."""
    STOP = "stop"
    """SIGTERM for a worker, which is replaced; half of them while its clock jumps and the network passes nothing."""
    FREEZE = "freeze"
    """SIGSTOP for a worker, for longer than its lease."""
    TERMINATE = "terminate"
    """pg_terminate_backend for the half of all connections."""
    RESTART = "restart"
    """The server crashes, is killed, or is restarted."""
    CUT = "cut"
    """All connections over the network end in the middle of what they say."""
    HOLE = "hole"
    """The network passes nothing, or nothing in one direction, for a while."""
    SLOW = "slow"
    """The network is slow for a while."""
    JUMP = "jump"
    """The wall clock of a worker jumps."""
    WORDS = "words"
    """A stranger speaks on the channel."""
    LEVEL = "level"
    """The database gets another isolation level."""
    FORK = "fork"
    """A client's process forks."""
    REBIRTH = "rebirth"
    """Ids come back after their jobs were pruned."""
    LOSE = "lose"
    """A write of a client loses its answer."""


WEIGHTS: Final[Mapping[Fault, int]] = {
    Fault.KILL: 4,
    Fault.STOP: 2,
    Fault.FREEZE: 2,
    Fault.TERMINATE: 3,
    Fault.RESTART: 1,
    Fault.CUT: 3,
    Fault.HOLE: 2,
    Fault.SLOW: 2,
    Fault.JUMP: 2,
    Fault.WORDS: 2,
    Fault.LEVEL: 2,
    Fault.FORK: 2,
    Fault.REBIRTH: 2,
    Fault.LOSE: 3,
}

OUTAGES: Final = frozenset(
    {Fault.RESTART, Fault.CUT, Fault.HOLE, Fault.SLOW, Fault.TERMINATE, Fault.STOP, Fault.LEVEL}
)
"""What keeps all workers from the server."""
RETRY: Final = 2.0
"""Seconds that may pass before a worker's services try again."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault of a schedule."""

    at: float
    """Seconds from the begin; later, if the fault before it takes longer."""
    fault: Fault
    seconds: float
    """How long it lasts, where it does."""
    draw: random.Random
    """What else is chance in it follows from this."""

    def __str__(self) -> str:
        return f"{self.at:.1f} s {self.fault}"


def schedule(chance: random.Random, seconds: float) -> list[Planned]:
    """A schedule of so many seconds, a fault every one to three."""
    planned, at = [], 0.0
    faults, weights = list(WEIGHTS), list(WEIGHTS.values())
    while (at := at + chance.uniform(1.0, 3.0)) < seconds:
        (fault,) = chance.choices(faults, weights)
        lasts = (
            chance.uniform(1.5, 2.5) * PROFILE.lease.total_seconds()
            if fault is Fault.FREEZE
            else chance.uniform(0.5, 2.0)
        )
        planned.append(Planned(at, fault, lasts, random.Random(chance.random())))
    return planned


class Nemesis:
    """Carries out a schedule on a run whose workers reach the server over a proxy.

    Args:
        run: whose workers are disturbed; there must be at least two.
        server: is restarted.
        proxy: the way of the workers to it.
        mischief: of others, who do not touch the workers.
    """

    def __init__(self, run: FaultRun, server: EmbeddedServer, proxy: FaultProxy, mischief: Mischief) -> None:
        self._run = run
        self._server = server
        self._proxy = proxy
        self._numbers = iter(range(1_000_000))
        self._clocks: dict[int, Path] = {}
        """By the process id of a worker: the file that says how wrong its wall clock is."""
        others = {
            Fault.WORDS: mischief.words,
            Fault.LEVEL: mischief.level,
            Fault.FORK: mischief.fork,
            Fault.REBIRTH: mischief.rebirth,
            Fault.LOSE: mischief.lose,
        }
        self._acts: Mapping[Fault, Callable[[Planned], Awaitable[None]]] = {
            Fault.KILL: self._kill,
            Fault.STOP: self._stop,
            Fault.FREEZE: self._freeze,
            Fault.TERMINATE: self._terminate,
            Fault.RESTART: self._restart,
            Fault.CUT: self._cut,
            Fault.HOLE: self._hole,
            Fault.SLOW: self._slow,
            Fault.JUMP: self._jump,
            **{fault: _of(act) for fault, act in others.items()},
        }
        self.done: Counter[str] = Counter()
        self._outages: list[tuple[float, float]] = []

    async def disturb(self, planned: list[Planned]) -> None:
        """Everything, one after the other; healed at the end."""
        began = time.monotonic()
        for fault in planned:
            await asyncio.sleep(max(began + fault.at - time.monotonic(), 0))
            start = time.monotonic()
            await self._acts[fault.fault](fault)
            if fault.fault in OUTAGES:
                self._outages.append((start, time.monotonic()))
            self.done[fault.fault] += 1
        self._proxy.heal()

    @property
    def longest_outage(self) -> float:
        """Seconds for which no worker could rely on the server; with less than RETRY between them, two are one."""
        longest, begin, end = 0.0, 0.0, 0.0
        for start, stop in self._outages:
            if start - end > RETRY:
                begin = start
            end = stop
            longest = max(longest, end - begin + RETRY)
        return longest

    def spawn(self) -> None:
        """One more worker, with a wall clock of its own."""
        clock = self._run.folder / f"clock-{next(self._numbers)}"
        clock.write_text("+0\n")
        worker = self._run.spawn(
            url=self._proxy.url, JOBPLANE_QUEUES=f"default:{SLOTS},{NARROW}:{SLOTS}", **skewed(clock)
        )
        self._clocks[worker.pid] = clock

    def _someone(self, planned: Planned) -> WorkerProcess:
        return planned.draw.choice(self._run.workers)

    async def _kill(self, planned: Planned) -> None:
        await self._run.kill(self._someone(planned))
        self.spawn()

    async def _stop(self, planned: Planned) -> None:
        worker = self._someone(planned)
        if planned.draw.random() < 0.5:
            await self._run.stop(worker)
        else:
            self._set_clock(worker, planned.draw)
            await asyncio.gather(self._hole(planned), self._run.stop(worker))
        self.spawn()

    async def _jump(self, planned: Planned) -> None:
        self._set_clock(self._someone(planned), planned.draw)

    def _set_clock(self, worker: WorkerProcess, chance: random.Random) -> None:
        self._clocks[worker.pid].write_text(f"{chance.choice(CLOCKS)}\n")

    async def _freeze(self, planned: Planned) -> None:
        worker = self._someone(planned)
        worker.signal(signal.SIGSTOP)
        await asyncio.sleep(planned.seconds)
        worker.signal(signal.SIGCONT)

    async def _terminate(self, planned: Planned) -> None:
        backends = await self._run.fetch(
            "SELECT pid FROM pg_stat_activity WHERE application_name LIKE 'jobplane%' ORDER BY backend_start"
        )
        chosen = [row["pid"] for row in backends if planned.draw.random() < 0.5]
        await self._run.fetch("SELECT pg_terminate_backend(pid) FROM unnest($1::integer[]) AS pid", chosen)

    async def _restart(self, planned: Planned) -> None:
        await asyncio.to_thread(restart, self._server, planned.draw.choice(WAYS))

    async def _cut(self, planned: Planned) -> None:
        how = planned.draw.choice([End.RESET, End.FINISH])
        self._proxy.cut_after(lambda chance: (chance.randint(1, 5_000), how))
        await asyncio.sleep(planned.seconds)
        self._proxy.cut_after(None)
        self._proxy.heal()

    async def _hole(self, planned: Planned) -> None:
        up, down = planned.draw.choice([(True, True), (True, False), (False, True)])
        self._proxy.blackhole(up=up, down=down)
        await asyncio.sleep(planned.seconds)
        self._proxy.heal()

    async def _slow(self, planned: Planned) -> None:
        self._proxy.change(Weather(latency=0.02, jitter=0.02, rate=50_000))
        await asyncio.sleep(planned.seconds)
        self._proxy.heal()


def _of(act: Callable[[random.Random, float], Awaitable[None]]) -> Callable[[Planned], Awaitable[None]]:
    async def acts(planned: Planned) -> None:
        await act(planned.draw, planned.seconds)

    return acts


def told(planned: list[Planned]) -> str:
    """A schedule in words."""
    return f"{len(planned)} faults by pid {os.getpid()}: {', '.join(map(str, planned))}"
