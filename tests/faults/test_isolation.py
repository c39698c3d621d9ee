"""A database whose administrator chose another isolation level: the limit of a queue holds (I16)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlsplit

import asyncpg

from jobplane.outcome import Released
from tests.faults.clients import jobs_of
from tests.faults.hands import LONG, hand
from tests.faults.run import FaultRun

LIMIT = 2
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


async def test_a_limit_holds_whatever_the_databases_isolation_level_is(fault_run: FaultRun) -> None:
    """Two workers claim at the same moment: one waits for the other, and must see then what that has claimed."""
    run = fault_run
    run.limits = {"narrow": LIMIT}
    name = urlsplit(run.url).path.lstrip("/")
    await run.fetch(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'")
    await run.queue.limit_queue("narrow", LIMIT)
    await run.client.enqueue_many(jobs_of("work", [{}] * 3 * LIMIT, queue="narrow"))
    holder, running = await asyncpg.connect(run.url), 0
    async with hand(run, "a") as one, hand(run, "b") as other:
        for _ in range(10):  # each waits for the lock for 0.2 s at most
            async with holder.transaction():
                await holder.fetch("SELECT FROM control_plane.queues WHERE name = 'narrow' FOR UPDATE")
                claiming = [
                    asyncio.create_task(
                        worker.store.limited.claim("narrow", ["work"], worker.id, LONG, LIMIT)
                    )
                    for worker in (one, other)
                ]

                async def both_wait(claiming: Sequence[asyncio.Task[object]] = claiming) -> bool:
                    return await run.fetchval(WAITING) == 2 or any(task.done() for task in claiming)

                await run.until(both_wait, "two claims to wait for each other")
            found = await asyncio.gather(*claiming)
            running = await run.count("running")
            assert running <= LIMIT, f"I16: {running} jobs of a queue that allows {LIMIT} run at once"
            for worker, claims in zip((one, other), found, strict=True):
                await worker.store.finish([(claim, Released()) for claim in claims or ()])
            if running:
                break
    await holder.close()
    assert running == LIMIT
    await run.verdict(settled=False)
