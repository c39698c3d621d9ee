"""What is measured, as data. A new phase is a line here and, where it needs a new verb, a function in each adapter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Unit = Literal["jobs/s", "ms"]
Ground = Literal["", "waiting", "spread", "finished", "future"]
Nuisance = Literal["", "snapshot", "readers"]
BESIDE_ROWS: Final = 1_000_000
"""How many rows stand beside the measured ones, at scale 1."""


@dataclass(frozen=True, slots=True)
class Phase:
    """One thing to measure.

    Attributes:
        name: the word in the ratio line.
        jobs: how many jobs at scale 1.
        unit: jobs/s (more is better), or ms (less is better).
        sentence: what it means, for the table.
        verb: the adapter's command.
        loaded: what the jobs look like that are there before, if they are.
        beside: a million rows that nobody may claim.
        processes: how many workers run at once.
        core: whether `make bench` measures it.
        shares: whether slow systems get fewer jobs; at a given pace they do not.
        nuisance: what else goes on in the database meanwhile: a REPEATABLE READ transaction that stays open, or four
            sessions that count and group all jobs again and again.
        ours: whether only jobplane and raw have it.
    """

    name: str
    jobs: int
    unit: Unit
    sentence: str
    verb: str
    loaded: Ground = ""
    beside: Ground = ""
    processes: int = 1
    core: bool = False
    shares: bool = True
    nuisance: Nuisance = ""
    ours: bool = False

    def size(self, scale: float, share: float) -> int:
        """How many jobs one run has."""
        return max(int(self.jobs * scale * (share if self.shares else 1.0)), 10)


PHASES: Final = (
    Phase("single", 1500, "jobs/s", "enqueue one by one, each durable before the next", "single", core=True),
    Phase("concurrent", 20_000, "jobs/s", "enqueue from 100 tasks at once on one client", "concurrent"),
    Phase("bulk", 50_000, "jobs/s", "enqueue many by COPY", "bulk", core=True),
    Phase("drain", 150_000, "jobs/s", "run no-op jobs, one worker process", "drain", "waiting", core=True),
    Phase("drain2", 150_000, "jobs/s", "the same, two worker processes", "drain", "waiting", processes=2),
    Phase("queues", 60_000, "jobs/s", "the same, from 10 queues with 5 priorities each", "queues", "spread"),
    Phase(
        "finished", 150_000, "jobs/s", "drain beside 1 million finished rows", "drain", "waiting", "finished"
    ),
    Phase(
        "future", 150_000, "jobs/s", "drain beside 1 million rows due tomorrow", "drain", "waiting", "future"
    ),
    Phase(
        "pickup", 300, "ms", "from enqueue to start at 100/s, idle worker", "pickup", core=True, shares=False
    ),
    Phase("pickup1000", 5000, "ms", "from enqueue to start at 1,000/s", "pickup1000", shares=False),
    Phase("waits", 20_000, "jobs/s", "run jobs that wait for 1 ms, one worker process", "waits", "waiting"),
    Phase(
        "steady",
        60_000,
        "ms",
        "from enqueue to start at 1,000/s for a minute",
        "pickup1000",
        shares=False,
        ours=True,
    ),
    Phase("burst", 200_000, "jobs/s", "200,000 jobs at once on an idle worker", "burst", ours=True),
    Phase(
        "flow",
        2_400_000,
        "jobs/s",
        "20,000/s for two minutes, enqueued by another process",
        "flow",
        ours=True,
    ),
    Phase(
        "snapshot",
        2_400_000,
        "jobs/s",
        "the same while a REPEATABLE READ transaction stays open",
        "flow",
        nuisance="snapshot",
        ours=True,
    ),
    Phase(
        "readers",
        2_400_000,
        "jobs/s",
        "the same while four sessions group all jobs",
        "flow",
        nuisance="readers",
        ours=True,
    ),
    Phase(
        "endurance",
        600_000,
        "jobs/s",
        "1,000/s for ten minutes, of jobs that take ten seconds",
        "endurance",
        ours=True,
    ),
    Phase(
        "inflight",
        10_000,
        "jobs/s",
        "10,000 jobs that wait for each other, in one process",
        "inflight",
        ours=True,
    ),
)
