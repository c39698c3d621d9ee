"""Many who enqueue under one unique key at once, beside kills, retries and cancellations (F24): at most one at a time (I15)."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final
from uuid import UUID

from jobplane import JobStateError, UniqueKeyTakenError
from tests.faults.run import FaultRun

AT_ONCE: Final = 50
KEYS: Final = 3


async def test_f24_one_unfinished_job_for_each_key(fault_run: FaultRun) -> None:
    """50 enqueue at once, round after round, under one of 3 keys; meanwhile someone kills, retries or cancels."""
    run, rounds = fault_run, 1000 if fault_run.long else 80
    for _ in range(2):
        run.spawn(slots=4)
    await run.ready()
    made: dict[int, list[UUID]] = {number: [] for number in range(KEYS)}
    disturbed = Counter[str]()

    for turn in range(rounds):
        number = run.random.randrange(KEYS)
        if run.random.random() < 0.7:
            await _until_free(run, number)
        # A retry beside the enqueuers nearly always comes too late for the key; one right before them holds it.
        if run.random.random() < 0.5:
            await _disturb(run, made[number], disturbed)
        answers, _ = await asyncio.gather(
            asyncio.gather(*(_enqueue(run, turn, number, caller) for caller in range(AT_ONCE))),
            _disturb(run, made[number], disturbed),
        )
        assert len(answers) == AT_ONCE, "every caller is told of a job"
        # A quick job may end, and another take its key, while the callers are still at it: each was the only one then.
        fresh = {job_id for job_id, existing in answers if not existing}
        assert {job_id for job_id, _ in answers} <= {*made[number], *fresh}, "nobody made it, and nobody had"
        made[number] += fresh
    await run.settle(30)

    # Retries come by the operator's call: the run keeps no journal of them.
    figures = await run.verdict(rounds=rounds, disturbed=dict(disturbed))
    assert figures.completions >= rounds / 4
    assert disturbed["retry"]
    assert disturbed["retry refused"]


async def _enqueue(run: FaultRun, turn: int, number: int, caller: int) -> tuple[UUID, bool]:
    result = await run.client.enqueue_surely(
        "work", {"seconds": 0.02}, key=f"{turn} {caller}", unique_key=f"key {number}", max_attempts=50
    )
    return result.id, result.existing


async def _until_free(run: FaultRun, number: int) -> None:
    async def nobody_holds_it() -> bool:
        query = "SELECT count(*) FROM control_plane.jobs WHERE unique_key = $1 AND status IN ('pending', 'running')"
        return await run.fetchval(query, f"key {number}") == 0

    await run.until(nobody_holds_it, f"the holder of key {number} to end")


async def _disturb(run: FaultRun, made: list[UUID], disturbed: Counter[str]) -> None:
    what = run.random.choices(("kill", "retry", "cancel", "nothing"), (1, 8, 4, 4))[0]
    if not made:
        return
    try:
        if what == "kill":
            await run.kill(run.random.choice(run.workers))
            run.spawn(slots=4)
        elif what == "retry":
            await run.queue.retry(run.random.choice(made), extra_attempts=1)
        elif what == "cancel":
            await run.queue.cancel(made[-1])
        disturbed[what] += 1
    except (UniqueKeyTakenError, JobStateError):
        # Another holds the key now, or it is not in the state for it: that is the answer to expect.
        disturbed[f"{what} refused"] += 1
