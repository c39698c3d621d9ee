"""F25: ordering keys and limits of queues while workers are killed (I14, I16).

Ten queues with limit 1 and ten with limit 3; four workers of which one is killed every half second, and one that is
spared, so that a free worker exists. What ran is told by two witnesses: the journal of the handlers, and the database's
history of transitions.
"""

from __future__ import annotations

import random
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import asyncpg

from jobplane import JobQueue
from jobplane.sql import load
from jobplane.task import new_job
from tests.factories import SQL
from tests.support import Journal, WorkerProcess, until

KEYS = [f"key-{number}" for number in range(10)]
LIMITED = [f"limited-{number}" for number in range(10)]
KILLS = 16
KILL_EVERY = 0.5
"""Seconds."""
RECOVERY = 2.0 + 0.5 + 0.2 + 1.0
"""Lease + sweep + poll of the test profile, and a second: seconds."""


async def test_limits_and_orders_hold_while_workers_are_killed(
    queue: JobQueue, sql: SQL, spawn_worker: Callable[..., WorkerProcess], journal: Journal
) -> None:
    chance = random.Random(25)
    await sql.execute(load("history/on").numbered)
    for name in KEYS:
        await queue.limit_queue(name, 1)
    for name in LIMITED:
        await queue.limit_queue(name, 3)
    begin = datetime.now(UTC) - timedelta(hours=1)
    await queue.enqueue_many(
        new_job(
            "work",
            {"seconds": chance.uniform(0.05, 0.25), "marker": name},
            {
                "queue": name,
                "max_attempts": 100,
                "priority": chance.choice([0, 0, 0, 7]),
                "scheduled_at": begin + timedelta(seconds=chance.randrange(1000)),
            },
        )
        for name, count in [*((key, 40) for key in KEYS), *((name, 80) for name in LIMITED)]
        for _ in range(count)
    )
    queues = ",".join([*(f"{name}:1" for name in KEYS), *(f"{name}:3" for name in LIMITED)])
    # Machines die here, three times in a row with the same job: none of the jobs is to be suspected, and put off.
    settings = {"JOBPLANE_QUEUES": queues, "JOBPLANE_CRASH_LIMIT": "1000"}
    spawn_worker(**settings)  # the spared one
    doomed = [spawn_worker(**settings) for _ in range(3)]
    killed: dict[int, float] = {}

    async def someone_works() -> bool:
        return len({entry["pid"] for entry in journal.entries("start")}) >= 2

    await until(someone_works)
    next_kill = time.monotonic()
    while len(killed) < KILLS:

        async def it_is_time(when: float = next_kill) -> bool:
            return time.monotonic() >= when

        await until(it_is_time)
        next_kill = time.monotonic() + KILL_EVERY
        worker = doomed.pop(0)
        worker.signal(signal.SIGKILL)
        await worker.exit_code()
        killed[worker.pid] = time.time()
        doomed.append(spawn_worker(**settings))

    async def all_are_done() -> bool:
        left = await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE status <> 'completed'")
        return int(left) == 0

    await until(all_are_done, 30)
    events = await sql.fetch("SELECT * FROM control_plane.job_events ORDER BY at, job_id, rev")
    handlers = _overlap_of_handlers(journal, killed)
    rows = _overlap_of_rows(events)
    violations = _order_violations(events)
    recoveries = _recoveries(events, killed)
    print(  # noqa: T201 - the figures of the run
        f"F25: kills {len(killed)}, jobs taken back {len(recoveries)}, running at most: keys "
        f"{max(rows[name] for name in KEYS)}, limited {max(rows[name] for name in LIMITED)}; order violations "
        f"{violations}; a killed key goes on after at most {max(recoveries):.2f} s"
    )
    assert all(handlers[name] <= 1 and rows[name] == 1 for name in KEYS), (handlers, rows)
    assert all(handlers[name] <= 3 and rows[name] <= 3 for name in LIMITED), (handlers, rows)
    assert max(rows[name] for name in LIMITED) == 3, "else the limit was never reached"
    assert violations == 0
    assert len(recoveries) >= 5, "kills in the middle of the work leave jobs to take back"
    assert max(recoveries) <= RECOVERY


def _overlap_of_handlers(journal: Journal, killed: dict[int, float]) -> dict[str, int]:
    """How many handlers of a queue ran at once, at most: until their end, or that of their process."""
    ends = {
        (entry["job"], entry["epoch"]): float(str(entry["at"]))
        for kind in ("end", "cancelled")
        for entry in journal.entries(kind)
    }
    steps: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for entry in journal.entries("start"):
        end = ends.get((entry["job"], entry["epoch"])) or killed[int(str(entry["pid"]))]
        steps[str(entry["marker"])] += [(float(str(entry["at"])), 1), (end, -1)]
    return {name: _most(changes) for name, changes in steps.items()}


def _overlap_of_rows(events: Iterable[asyncpg.Record]) -> dict[str, int]:
    """How many rows of a queue had the status running at once, at most."""
    steps: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for event in events:
        change = (event["to_status"] == "running") - (event["from_status"] == "running")
        if change:
            steps[event["queue"]].append((event["at"].timestamp(), change))
    return {name: _most(changes) for name, changes in steps.items()}


def _most(changes: list[tuple[float, int]]) -> int:
    level = most = 0
    for _, change in sorted(changes):
        level += change
        most = max(most, level)
    return most


def _order_violations(events: Iterable[asyncpg.Record]) -> int:
    """Claims from an ordering key while a job before it had not ended."""
    unfinished: dict[str, dict[UUID, tuple[int, datetime, UUID]]] = defaultdict(dict)
    violations = 0
    for event in events:
        if event["queue"] not in KEYS:
            continue
        jobs = unfinished[event["queue"]]
        if event["verb"] == "enqueue":
            jobs[event["job_id"]] = (-event["priority"], event["scheduled_at"], event["job_id"])
        elif event["to_status"] == "completed":
            del jobs[event["job_id"]]
        elif event["to_status"] == "running" and event["from_status"] == "pending":
            violations += jobs[event["job_id"]] != min(jobs.values())
    return violations


def _recoveries(events: Iterable[asyncpg.Record], killed: dict[int, float]) -> list[float]:
    """Seconds from the kill of a worker to the next claim of each ordering key that it held."""
    waiting: dict[str, float] = {}
    found = []
    for event in events:
        if event["queue"] not in KEYS:
            continue
        if event["verb"] == "rescue":
            waiting[event["queue"]] = killed[int(event["worker_id"].split("-")[-2])]
        elif (
            event["to_status"] == "running"
            and event["from_status"] == "pending"
            and event["queue"] in waiting
        ):
            found.append(event["at"].timestamp() - waiting.pop(event["queue"]))
    return found
