"""Everything through PgBouncer in transaction mode (F18), woken past it or by polling alone; with kills (F1)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from jobplane import DatabaseSettings, JobQueue, JobStatus
from jobplane.errors import ConfigurationError
from jobplane.store.migrator import Migrator
from tests.faults.clients import JournallingClient
from tests.faults.clusters import Pooler
from tests.faults.run import PROFILE, SLOTS, FaultRun
from tests.support import WorkerProcess

JOBS = 600
COMPLAINTS = ("prepared statement", "does not exist", "42P05", "26000")


@pytest.fixture
def pooler(fault_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pooler]:
    """PgBouncer before the run's server, with few server connections, so that they change hands all the time."""
    folder = Path(str(tmp_path_factory.mktemp("pgbouncer")))
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    with Pooler(fault_database, folder, {"default_pool_size": "4"}) as running:
        yield running


def pooled(pooler: Pooler, direct_url: str | None = None) -> DatabaseSettings:
    """Settings for the way through the pooler."""
    return DatabaseSettings(url=pooler.url, prepared_statements=False, direct_url=direct_url)


async def test_f18_kills_through_a_pooler_in_transaction_mode(fault_run: FaultRun, pooler: Pooler) -> None:
    """F1 through the pooler: first woken past it, then by polling alone."""
    run = fault_run

    def spawn() -> WorkerProcess:
        return run.spawn(url=pooler.url, JOBPLANE_PREPARED_STATEMENTS="false", JOBPLANE_DIRECT_URL=run.url)

    workers = [spawn() for _ in range(3)]
    await run.ready()
    jobs = JOBS * 10 if run.long else JOBS
    async with JobQueue(settings=pooled(pooler)) as queue:
        client = JournallingClient(queue, run.journal)
        enqueueing = asyncio.create_task(_enqueue(run, client, jobs))
        while not enqueueing.done():
            # The pause is part of the fault.
            await asyncio.sleep(run.random.uniform(0.3, 1.0))
            await run.kill(run.random.choice(run.workers))
            workers.append(spawn())
        await enqueueing
        await run.completed(jobs, 60)
        await run.settle()
        await run.ready()
        woken = await _pick_up_times(run, client, 20)

        for worker in list(run.workers):
            assert await run.stop(worker) == 0
        workers.append(run.spawn(url=pooler.url, JOBPLANE_PREPARED_STATEMENTS="false"))
        await run.ready()
        polled = await _pick_up_times(run, client, 10)
    await run.settle()

    figures = await run.verdict(
        kills=run.kills, woken_median=f"{sorted(woken)[10] * 1000:.0f} ms", polled_max=f"{max(polled):.2f} s"
    )
    assert figures.completions == jobs + 30
    assert figures.extra_executions <= run.kills * SLOTS * 3
    assert max(polled) <= PROFILE.poll_interval.total_seconds() * 1.1 + 0.3
    assert sorted(woken)[10] < PROFILE.poll_interval.total_seconds() / 2
    for worker in workers:
        assert not _complaints(worker)
    assert not [word for word in COMPLAINTS if word in pooler.log.read_text()]


async def test_what_a_worker_sets_does_not_reach_others_through_the_pooler(
    fault_run: FaultRun, pooler: Pooler
) -> None:
    run = fault_run
    run.spawn(url=pooler.url, JOBPLANE_PREPARED_STATEMENTS="false")
    await run.ready()
    async with JobQueue(settings=pooled(pooler)) as queue:
        client = JournallingClient(queue, run.journal)
        await _enqueue(run, client, 50)
        await asyncio.to_thread(queue.sync.enqueue, "work", {})
        await run.completed(51)

        strangers = [await asyncpg.connect(pooler.url, statement_cache_size=0) for _ in range(4)]
        # Each holds a transaction, so that together they see every connection of the pool.
        for stranger in strangers:
            await stranger.execute("BEGIN")
        settings = "enable_seqscan", "enable_sort", "lock_timeout", "statement_timeout"
        seen = {
            tuple([await stranger.fetchval(f"SHOW {name}") for name in settings]) for stranger in strangers
        }
        for stranger in strangers:
            await stranger.close()

    assert seen == {("on", "on", "0", "0")}


async def test_every_operation_of_both_clients_works_through_the_pooler(
    fault_run: FaultRun, pooler: Pooler
) -> None:
    run = fault_run
    async with JobQueue(settings=pooled(pooler)) as queue:
        for number in range(8):  # more often than a driver takes to prepare a statement
            made = await queue.enqueue("work", {"seconds": 0}, tags=["t"], idempotency_key=f"k {number}")
            again = await asyncio.to_thread(
                queue.sync.enqueue, "work", {"seconds": 0}, idempotency_key=f"k {number}"
            )
            assert (again.id, again.existing) == (made.id, True)
            await queue.cancel(made.id)
            await queue.retry(made.id)
            assert (await queue.list_jobs(tag="t")).jobs
            assert await asyncio.to_thread(queue.sync.get_job, made.id) is not None
        made = await queue.enqueue("work", {"seconds": 0})
        run.spawn(url=pooler.url, JOBPLANE_PREPARED_STATEMENTS="false")
        job = await queue.wait(made.id, 20)
        await queue.pause_queue("default")
        await queue.resume_queue("default")
        assert await queue.list_queues()
        assert len(await queue.list_workers()) == 1

    assert job.status is JobStatus.COMPLETED


async def test_a_migration_through_the_pooler_is_refused_with_advice(pooler: Pooler) -> None:
    with pytest.raises(ConfigurationError, match="JOBPLANE_DIRECT_URL"):
        await Migrator(pooled(pooler)).up()


async def test_a_worker_that_knows_of_no_pooler_is_told_of_it(fault_run: FaultRun, pooler: Pooler) -> None:
    """Prepared statements through a pooler in transaction mode fail now and then: the error says what to set."""
    errors = []
    async with JobQueue(settings=DatabaseSettings(url=pooler.url, pool_max=20)) as queue:
        for _ in range(20):
            answers = await asyncio.gather(
                *(queue.list_jobs(limit=number + 1) for number in range(20)), return_exceptions=True
            )
            errors += [str(answer) for answer in answers if isinstance(answer, Exception)]
            if errors:
                break

    assert errors
    assert all("JOBPLANE_PREPARED_STATEMENTS=false" in error for error in errors), errors[0]


async def _enqueue(run: FaultRun, client: JournallingClient, jobs: int) -> None:
    async def one(number: int) -> None:
        seconds = run.random.uniform(0.005, 0.06)
        await client.enqueue_surely("work", {"seconds": seconds}, key=f"pooled {number}", max_attempts=50)

    for start in range(0, jobs, 8):
        await asyncio.gather(*(one(number) for number in range(start, min(start + 8, jobs))))


async def _pick_up_times(run: FaultRun, client: JournallingClient, count: int) -> list[float]:
    """Seconds from the acknowledgement to the end of a lone, instant job."""
    times = []
    for number in range(count):
        made = await client.enqueue("work", {"seconds": 0}, key=f"lone {count} {number}")
        began = time.monotonic()
        await run.queue.wait(made.id, 10)
        times.append(time.monotonic() - began)
    return times


def _complaints(worker: WorkerProcess) -> list[str]:
    lines = worker.log.read_text().splitlines()
    return [line for line in lines if any(word in line for word in COMPLAINTS)]
