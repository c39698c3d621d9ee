"""Workers that die at any moment (F1, F2): every job ends, none is completed twice, recovery is bounded (I4 to I7)."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from typing import Final

from tests.faults.clients import jobs_of
from tests.faults.failpoints import NAMES
from tests.faults.run import PROFILE, SLOTS, FaultRun
from tests.support import WorkerProcess

EXECUTIONS: Final = {
    "after_claim_commit": 1,
    "before_handler": 1,
    "after_handler": 2,
    "before_complete": 2,
    "after_complete_commit": 1,
    "in_heartbeat": 2,
    "in_release": 2,
}
"""How often the job in hand is run in all, when its worker dies there. The other places have no job in hand."""
SECONDS: Final = {"in_heartbeat": 2.0, "in_release": 2.0}
"""How long the job in hand takes: long enough to be renewed, or to be interrupted; else 0.1."""


async def test_f1_kill_9_of_random_workers(fault_run: FaultRun) -> None:
    """4 workers of 8 slots, one of them killed every 0.3 to 1 s and replaced."""
    run, jobs = fault_run, 200_000 if fault_run.long else 4_000
    await run.client.enqueue_many(
        jobs_of("work", [{"seconds": run.random.uniform(0.005, 0.06)} for _ in range(jobs)], max_attempts=50)
    )
    for _ in range(4):
        run.spawn()

    while await run.count("completed") < jobs * 0.9:
        # The pause is part of the fault, not a wait for something.
        await asyncio.sleep(run.random.uniform(0.3, 1.0))
        await run.kill(run.random.choice(run.workers))
        run.spawn()
    await run.completed(jobs, 600)
    await run.settle()

    figures = await run.verdict(kills=run.kills)
    assert figures.completions == jobs
    # A slot is free when its handler has ended; its outcome is durable a commit later, and until then a kill undoes it.
    assert figures.extra_executions <= run.kills * SLOTS * 3
    assert figures.recovery_max is None or figures.recovery_max <= PROFILE.recovery.total_seconds()


@dataclass(frozen=True)
class Victim:
    """A worker that will kill itself, with a queue to itself."""

    place: str
    nth: int
    queue: str
    worker: WorkerProcess


async def test_f2_kill_9_at_every_failpoint(fault_run: FaultRun) -> None:
    """All places at once, each in a worker of its own; another stands by and takes over."""
    run = fault_run
    expected: dict[str, int] = {}
    await run.every_second("ticks", "ticks")  # whose scheduler dies, too
    for number in range(20 if run.long else 2):
        expected |= await _kill_at_all_places(run, number)

    starts = run.starts()
    seen = {job: starts[job] for job in expected}
    await run.verdict(kills=run.kills, places=len(NAMES))
    assert seen == expected, f"executions of the jobs in hand, seed {run.seed}"


async def _kill_at_all_places(run: FaultRun, number: int) -> dict[str, int]:
    queues = {place: f"{place}-{number}" for place in NAMES}
    stand_by = run.spawn(JOBPLANE_QUEUES=",".join(f"{queue}:2" for queue in (*queues.values(), "ticks")))
    await run.ready()
    # Stopped while it holds nothing: no victim's job may come to it before its time, nor late by its start.
    stand_by.signal(signal.SIGSTOP)
    victims = [_victim(run, place, queue) for place, queue in queues.items()]
    await run.ready()
    in_hand = {victim.place: await _jobs_of(run, victim) for victim in victims}

    async def all_taken() -> bool:
        query = "SELECT count(*) FROM control_plane.jobs WHERE status = 'pending' AND queue <> 'ticks'"
        return await run.fetchval(query) == 0

    await run.until(all_taken, "the victims to take their jobs")
    stand_by.signal(signal.SIGCONT)
    await _see_them_die(run, victims, in_hand)
    await run.settle()
    await run.stop(stand_by)
    return {in_hand[place]: EXECUTIONS[place] for place in NAMES if place in EXECUTIONS}


def _victim(run: FaultRun, place: str, queue: str) -> Victim:
    nth = run.random.randint(1, 2 if place == "in_release" else 3)
    worker = run.spawn(
        JOBPLANE_QUEUES=f"{queue}:1",
        JOBPLANE_PREFETCH="0",
        JOBPLANE_GRACE="0",
        JOBPLANE_TEST_FAILPOINT=f"{place}:{nth}",
    )
    return Victim(place, nth, queue, worker)


async def _jobs_of(run: FaultRun, victim: Victim) -> str:
    """Enqueue what the victim dies of; the id of the job that it will have in hand."""
    if victim.place not in EXECUTIONS:
        return ""
    # One job for each time that the place is reached, the last of which kills; long ones are reached several times.
    count = 1 if victim.place in SECONDS else victim.nth
    job = ""
    for _ in range(count):
        key = f"{victim.queue} {run.random.random()}"
        seconds = SECONDS.get(victim.place, 0.1)
        job = str((await run.client.enqueue("work", {"seconds": seconds}, key=key, queue=victim.queue)).id)
    return job


async def _see_them_die(run: FaultRun, victims: list[Victim], in_hand: dict[str, str]) -> None:
    for victim in victims:
        if victim.place == "in_release":

            async def has_begun() -> bool:
                return run.starts()[in_hand["in_release"]] > 0

            await run.until(has_begun, "the handler to begin that will be interrupted")
            victim.worker.signal(signal.SIGTERM)
    for victim in victims:
        code = await victim.worker.exit_code(30)
        assert code == -signal.SIGKILL, (
            f"{victim} ended with {code}:\n{victim.worker.log.read_text()[-3000:]}"
        )
        run.forget(victim.worker)
