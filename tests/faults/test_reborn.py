"""Ids that come back (F35): jobs are pruned as soon as they end, and their idempotency keys are enqueued once more (I1, I2, I5, I6).

A worker that was cut off while an id lived for the first time may report when it lives for the second or the tenth.
"""

from __future__ import annotations

import asyncio
from typing import Final

from jobplane import DatabaseError
from tests.faults.hands import BRIEF, hand
from tests.faults.load import AWAY
from tests.faults.mischief import FORGET
from tests.faults.proxy import FaultProxy
from tests.faults.run import FaultRun

KEYS: Final = 12
WORKERS: Final = 3


async def test_f35_a_claim_of_an_ids_first_life_does_not_end_that_of_its_second(fault_run: FaultRun) -> None:
    """Cut off, rescued, completed by another, pruned, enqueued again, claimed; then the first outcome arrives."""
    run = fault_run
    async with hand(run, "cut off") as zombie, hand(run, "heir") as heir:
        await run.client.enqueue("work", {}, key="monthly")
        (old,) = await zombie.claim(lease=BRIEF)
        await heir.rescue_one(run)
        (second,) = await heir.claim()
        await heir.store.complete([second])
        assert await heir.store.prune(FORGET) == 1
        again = await run.client.enqueue("work", {}, key="monthly")
        (new,) = await heir.claim()

        stale = await zombie.store.complete([old])
        ours = await heir.store.complete([new])

    await run.verdict()
    assert (again.existing, again.id) == (False, old.id)
    assert (len(stale), len(ours)) == (0, 1)


async def test_f35_ids_come_back_under_kills_and_partitions(fault_run: FaultRun) -> None:
    """A dozen keys, enqueued again and again while workers are killed and cut off one at a time."""
    run = fault_run
    seconds = 300 if run.long else 20
    over = asyncio.Event()
    proxies = [FaultProxy(run.url, run.random) for _ in range(WORKERS)]
    # Answers that a worker waits for while nothing passes: it must still be there, with its outcomes, when that ends.
    patience = {"JOBPLANE_KEEP_COMPLETED": "0", "JOBPLANE_KEEP_FAILED": "0", "JOBPLANE_NETWORK_TIMEOUT": "60"}
    async with proxies[0], proxies[1], proxies[2]:
        workers = [run.spawn(slots=2, url=proxy.url, **patience) for proxy in proxies]
        await run.ready()
        load = [asyncio.create_task(_again_and_again(run, f"key {number}", over)) for number in range(KEYS)]
        pruning = asyncio.create_task(_prune_often(run, over))
        end = asyncio.get_running_loop().time() + seconds
        holes = 0
        while asyncio.get_running_loop().time() < end:
            victim = run.random.randrange(WORKERS)
            if run.random.random() < 0.3:
                await run.kill(workers[victim])
                workers[victim] = run.spawn(slots=2, url=proxies[victim].url, **patience)
            else:
                # Longer than a lease, so that its jobs are ended and pruned meanwhile.
                proxies[victim].blackhole()
                holes += 1
                await asyncio.sleep(run.profile.lease.total_seconds() * run.random.uniform(1.2, 2.0))
                proxies[victim].heal()
            await asyncio.sleep(run.random.uniform(0.1, 0.8))
        over.set()
        lives = sum(await asyncio.gather(*load))
        await pruning
        await run.settle(30)
        figures = await run.verdict(lives=lives, ids=KEYS, holes=holes)
    assert lives > 2 * KEYS, "hardly an id came back"
    assert figures.completions >= KEYS


async def _again_and_again(run: FaultRun, key: str, over: asyncio.Event) -> int:
    """Enqueue a key as soon as its last job is gone; how often that made a job."""
    lives = 0
    while not over.is_set():
        made = await run.client.enqueue_surely("work", {"seconds": 0.4}, key=key, max_attempts=50)
        lives += not made.existing
        await asyncio.sleep(0.1)
    return lives


async def _prune_often(run: FaultRun, over: asyncio.Event) -> None:
    """Workers prune once a minute: here as often, against the length of a run."""
    async with hand(run, "pruner") as pruner:
        while not over.is_set():
            try:
                await pruner.store.prune(FORGET)
            except (*AWAY, DatabaseError):
                continue
            await asyncio.sleep(0.1)
