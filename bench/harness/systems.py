"""Who is measured, as data: what to install, how to run it, and how to see from outside that nothing is left."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

BENCH: Final = Path(__file__).parent.parent
ENVIRONMENTS: Final = BENCH / ".envs"


@dataclass(frozen=True, slots=True)
class System:
    """One job queue.

    Attributes:
        name: as its registry calls it.
        runtime: ours runs in this environment; the others each in one of their own.
        configuration: what it was measured with, for the table.
        packages: what to install; the release is named, for npm would quietly take an older one that asks for less.
        unfinished: a query that is true while a due job waits or its completion is not yet committed; $1 is how many were
            there. None where the adapter itself counts completions.
        share: slow systems get fewer jobs, so that a run takes seconds for each.
        absent: phases that it cannot have, with the reason.
        newer: the oldest Python that it runs on, where ours is older; `install --python` names one.
    """

    name: str
    runtime: Literal["ours", "python", "node"]
    configuration: str
    packages: tuple[str, ...] = ()
    unfinished: str | None = None
    share: float = 1.0
    absent: tuple[tuple[str, str], ...] = ()
    newer: str = ""

    @property
    def environment(self) -> Path:
        """Where it is installed."""
        return ENVIRONMENTS / self.name

    @property
    def installed(self) -> bool:
        """Whether it can run."""
        return self.runtime == "ours" or (self.environment / ".ready").exists()

    def command(self, verb: str, url: str, jobs: int) -> list[str]:
        """The adapter's command line."""
        module = self.name.replace("-", "_")
        if self.runtime == "node":
            return ["node", str(BENCH / "adapters" / f"{module}.mjs"), verb, url, str(jobs)]
        python = sys.executable if self.runtime == "ours" else str(self.environment / "bin" / "python")
        return [python, "-m", f"bench.adapters.{module}", verb, url, str(jobs)]


OURS: Final = (
    System("raw", "ours", "3 connections, 500 rows a statement, no handler"),
    System("jobplane", "ours", "100 slots, everything else as it comes"),
)
PEERS: Final = (
    System(
        "graphile-worker",
        "node",
        "concurrency 24, local queue 500, completions gathered",
        ("graphile-worker@0.18.0", "pg@8"),
        "SELECT EXISTS (SELECT FROM graphile_worker.jobs WHERE run_at <= now())",
        absent=(("finished", "deletes finished jobs"),),
    ),
    System(
        "pgqueuer",
        "python",
        "asyncpg pool, batches of 500, uvloop",
        ("pgqueuer[asyncpg]==1.6.0",),
        "SELECT EXISTS (SELECT FROM pgqueuer WHERE execute_after <= now())",
        0.5,
    ),
    System(
        "procrastinate",
        "python",
        "psycopg pool, 20 jobs at once, logging off",
        ("procrastinate==3.10.0", "psycopg[binary]"),
        "SELECT EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'doing')"
        " OR EXISTS (SELECT FROM procrastinate_jobs WHERE status = 'todo'"
        " AND (scheduled_at IS NULL OR scheduled_at <= now()))",
        0.02,
    ),
    System(
        "pg-boss",
        "node",
        "batches of 1,000, 2 workers a process, bursts, NOTIFY where latency is measured",
        ("pg-boss@12.38.0",),
        "SELECT EXISTS (SELECT FROM pgboss.job WHERE state < 'completed' AND start_after <= now()"
        " AND name NOT LIKE '\\_\\_pgboss%')",
    ),
    System(
        "chancy",
        "python",
        "asyncio executor, 200 jobs at once in a queue, eager polling, updates sent each 100 ms",
        ("chancy==0.26.0",),
        "SELECT EXISTS (SELECT FROM chancy_jobs WHERE state IN ('pending', 'running', 'retrying')"
        " AND scheduled_at <= now())",
        0.1,
    ),
    System(
        "oban",
        "python",
        "psycopg pool, 200 jobs at once in a queue, inserts by the thousand",
        ("oban==0.7.0",),
        "SELECT EXISTS (SELECT FROM oban_jobs WHERE state IN ('available', 'executing', 'retryable')"
        " AND scheduled_at <= timezone('UTC', now()))",
        0.1,
        newer="3.12",
    ),
    System(
        "awa-pg",
        "python",
        "queue storage, 200 jobs at once in a queue, 4 priorities instead of 5",
        ("awa-pg==0.6.9",),
        "SELECT (SELECT count(*) FROM awa.done_entries)"
        " + (SELECT coalesce(sum(completed_count), 0) FROM awa.receipt_completion_batches) < $1",
        0.1,
        absent=(("finished", "would have to run a million jobs first"),),
    ),
)
