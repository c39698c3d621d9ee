"""The primary dies and its standby is promoted (F16): what is lost is what was not replicated, and no more (I1)."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg

from jobplane import DatabaseSettings, EnqueueJobResult, NotReplicatedError
from jobplane.history.check import check
from jobplane.history.figures import figures
from jobplane.history.violations import LostJob
from jobplane.store.migrator import Migrator
from jobplane.store.rows import as_uuid
from tests.faults.clusters import Pair
from tests.faults.report import Report
from tests.faults.run import SLOTS, FaultRun
from tests.support import until

StartRun = Callable[[str, str], FaultRun]
ENQUEUERS: Final = 4
UNAVAILABLE: Final = 5.0
"""Seconds from the promotion to the next acknowledged enqueue and the next outcome."""


@asynccontextmanager
async def pair_of_servers(*, synchronous: bool) -> AsyncIterator[Pair]:
    """A primary and its standby, with our schema."""
    with tempfile.TemporaryDirectory(prefix="jobplane-pair-", ignore_cleanup_errors=True) as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        with Pair(Path(folder), synchronous=synchronous) as pair:
            await pair.ready()
            await Migrator(DatabaseSettings(url=pair.primary.url())).up()
            yield pair


async def test_f16a_asynchronous_replication_loses_what_was_not_replicated(start_run: StartRun) -> None:
    """And the checker says so, job by job: it is not blind."""
    async with (
        pair_of_servers(synchronous=False) as pair,
        start_run("f16a_asynchronous_failover", pair.url) as run,
    ):
        run.spawn()
        await run.ready()
        for number in range(50):
            await run.client.enqueue("work", {"seconds": 0.01}, key=f"replicated {number}")
        await run.completed(50)
        assert await run.stop(run.workers[0]) == 0
        await pair.caught_up()

        await pair.make_deaf()
        tail = set()
        for number in range(run.random.randint(20, 60)):
            made = await run.client.enqueue("work", {"seconds": 0.01}, key=f"not replicated {number}")
            tail.add(as_uuid(made.id))
        pair.kill_primary()
        await pair.promote()

        run.spawn()
        made = await run.client.enqueue_surely("work", {"seconds": 0.01}, key="afterwards")
        await run.queue.wait(made.id, 20)
        await run.settle()
        history = await run.history()
    violations = check(history)
    lost: set[UUID | None] = {found.job_id for found in violations if isinstance(found, LostJob)}
    seconds = asyncio.get_running_loop().time() - run._began
    run._report(Report(run.name, run.seed, seconds, figures(history), {"not_replicated": len(tail)}))
    assert lost == tail
    assert len(violations) == len(tail), violations


async def test_f16b_synchronous_replication_loses_nothing(start_run: StartRun) -> None:
    """Clients and workers know both hosts; one worker only knows the standby, and sees that it is read-only."""
    async with (
        pair_of_servers(synchronous=True) as pair,
        start_run("f16b_synchronous_failover", pair.url) as run,
    ):
        for _ in range(2):
            run.spawn()
        await run.ready()
        patient = run.spawn(url=pair.standby_url)
        over = asyncio.Event()
        enqueuers = [asyncio.create_task(_enqueue_until(run, over, number)) for number in range(ENQUEUERS)]
        await run.completed(100)

        async def saw_read_only() -> bool:
            return "25006" in patient.log.read_text()

        await until(saw_read_only)
        pair.kill_primary()
        # Everyone meets a standby for a while.
        await asyncio.sleep(run.random.uniform(0.2, 1.0))
        await pair.promote()
        promoted = time.monotonic()
        before = await run.count("completed")
        await run.client.enqueue_surely("work", {"seconds": 0.01}, key="first after the promotion")
        enqueued = time.monotonic() - promoted
        await run.completed(before + 1)
        worked = time.monotonic() - promoted

        async def patient_one_works() -> bool:
            return patient.pid in {entry["pid"] for entry in run.journal.entries("start")}

        await run.until(patient_one_works, "the worker that met the standby to take part")
        over.set()
        wished = 1 + sum(await asyncio.gather(*enqueuers))
        await run.settle(20)

        found = await run.verdict(enqueued_after=f"{enqueued:.2f} s", worked_after=f"{worked:.2f} s")
    assert found.completions == wished
    assert found.extra_executions <= 3 * SLOTS
    assert enqueued <= UNAVAILABLE
    assert worked <= UNAVAILABLE


async def test_f16c_an_enqueue_whose_wait_was_cancelled_is_not_acknowledged(start_run: StartRun) -> None:
    async with pair_of_servers(synchronous=True) as pair, start_run("f16c_cancelled_waits", pair.url) as run:
        for number in range(20):
            await run.client.enqueue("work", {"seconds": 0.01}, key=f"replicated {number}")

        await pair.make_deaf()
        calls = [
            asyncio.create_task(run.client.enqueue("work", {"seconds": 0.01}, key=f"cut short {number}"))
            for number in range(run.random.randint(5, 20))
        ]
        answers = await _cancel_waits_until_done(pair, calls)
        there = await _count_locally(pair)
        pair.kill_primary()
        await pair.promote()
        run.spawn()
        repeated = [
            await run.client.enqueue_surely("work", {"seconds": 0.01}, key=f"cut short {number}")
            for number in range(len(calls))
        ]
        await run.completed(20 + len(calls))
        await run.settle()

        found = await run.verdict(
            cut_short=len(calls), lost_by_failover=sum(not job.existing for job in repeated)
        )
    assert there == 20 + len(calls), "they were committed on the primary"
    assert all(isinstance(answer, NotReplicatedError) for answer in answers), answers
    assert all(not job.existing for job in repeated), "the standby never had them"
    assert found.completions == 20 + len(calls)


async def _enqueue_until(run: FaultRun, over: asyncio.Event, number: int) -> int:
    count = 0
    while not over.is_set():
        key = f"{number} {count}"
        await run.client.enqueue_surely("work", {"seconds": 0.02}, key=key, max_attempts=50)
        count += 1
    return count


async def _cancel_waits_until_done(
    pair: Pair, calls: Sequence[asyncio.Task[EnqueueJobResult]]
) -> list[object]:
    gathered = asyncio.gather(*calls, return_exceptions=True)
    connection = await asyncpg.connect(pair.primary.url())

    async def cancelled_all() -> bool:
        await connection.execute(
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
        )
        return gathered.done()

    await until(cancelled_all)
    await connection.close()
    return list(await gathered)


async def _count_locally(pair: Pair) -> int:
    connection = await asyncpg.connect(pair.primary.url())
    try:
        return int(await connection.fetchval("SELECT count(*) FROM control_plane.jobs"))
    finally:
        await connection.close()
