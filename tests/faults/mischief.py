"""What other programs and administrators do beside a queue: strangers' words, forks, lost answers, ids that come back, other defaults.

None of it may change what becomes of a job. What was wrong is collected in `Mischief.found`; the checker sees the rest.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg

from jobplane import DatabaseSettings, JobQueue, OutcomeUnknownError, SyncJobQueue, WorkerSettings
from jobplane.sql import channel
from jobplane.wakeups import Cancel, LimitChanged
from tests.faults.clients import JournallingClient, jobs_of
from tests.faults.hands import hand
from tests.faults.proxy import FaultProxy
from tests.faults.run import FaultRun
from tests.faults.wire import COPY_DONE
from tests.forks import Child

LIMIT: Final = 2
NARROW: Final = "narrow"
"""A queue that runs no more than LIMIT jobs at once, in scenarios that ask for it."""
REBORN: Final = tuple(f"reborn {number}" for number in range(6))
"""Keys that are enqueued again whenever their jobs were pruned."""
CHILDREN, EACH = 3, 4
"""Processes that are forked at a time, and jobs of each."""
LEVELS: Final = ("read committed", "repeatable read", "serializable")
FORGET: Final = WorkerSettings(
    keep_completed=timedelta(0), keep_failed=timedelta(0), keep_cancelled=timedelta(0)
)
_STRANGER: Final = "stranger"


class Mischief:
    """`await mischief.words(chance, seconds)` and so on, one at a time.

    Args:
        run: whose jobs are meant.
        way: a proxy of its own, by which a client of its own reaches the server.
    """

    def __init__(self, run: FaultRun, way: FaultProxy) -> None:
        self._run = run
        self._way = way
        self._numbers = iter(range(1_000_000))
        self.found: list[str] = []
        """What was wrong, a sentence each."""
        self.cancelled: set[UUID] = set()
        """Jobs that a client had cancelled: nobody else may."""

    async def begin(self) -> None:
        """The stranger, who may connect and nothing else, and the narrow queue."""
        await self._run.fetch(f"CREATE ROLE {_STRANGER} LOGIN PASSWORD '{_STRANGER}'")
        await self._run.queue.limit_queue(NARROW, LIMIT)
        self._run.limits = {NARROW: LIMIT}

    async def words(self, _chance: random.Random, seconds: float) -> None:
        """A stranger tells workers to cancel every job there is, that limits have changed, and much else."""
        parts = urlsplit(self._run.url)
        url = urlunsplit(parts._replace(netloc=f"{_STRANGER}:{_STRANGER}@{parts.hostname}:{parts.port}"))
        connection = await asyncpg.connect(url)
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                there = await self._run.fetch("SELECT id FROM control_plane.jobs WHERE status = 'running'")
                said = [Cancel(row["id"]).word for row in there]
                said += [LimitChanged(NARROW).word, *(f"word {next(self._numbers)}" for _ in range(200))]
                await connection.executemany(
                    "SELECT pg_notify($1, $2)", [(channel("control_plane"), word) for word in said]
                )
        finally:
            await connection.close()

    async def level(self, chance: random.Random, _seconds: float) -> None:
        """An administrator gives the database another isolation level, and all sessions begin anew."""
        name = urlsplit(self._run.url).path.lstrip("/")
        await self._run.fetch(
            f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{chance.choice(LEVELS)}'"
        )
        await self._run.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'jobplane%'"
        )
        await self._run.client.enqueue_many(jobs_of("work", [{"seconds": 0.05}] * 6 * LIMIT, queue=NARROW))

    async def fork(self, _chance: random.Random, _seconds: float) -> None:
        """A client is used, its process forks, and parent and children use it."""
        number = next(self._numbers)
        self.found += await asyncio.to_thread(_fork, self._run, f"fork {number}")

    async def rebirth(self, _chance: random.Random, _seconds: float) -> None:
        """All that has ended is pruned, and the same keys are enqueued again."""
        async with hand(self._run, "pruner") as pruner:
            await pruner.store.prune(FORGET)
        for key in REBORN:
            await self._run.client.enqueue_surely("work", {"seconds": 0.05}, key=key, max_attempts=50)

    async def lose(self, chance: random.Random, _seconds: float) -> None:
        """A client's write is done, and its answer is lost."""
        writes: Mapping[str, Callable[[JobQueue], Awaitable[None]]] = {
            "jobplane: job/insert": self._enqueue,
            COPY_DONE: self._enqueue_many,
            "jobplane: job/retry": self._retry,
            "jobplane: job/cancel": self._cancel,
        }
        lost = chance.choice(list(writes))
        brief = replace(DatabaseSettings(url=self._way.url), network_timeout=timedelta(seconds=2))
        async with JobQueue(settings=brief) as queue:
            self._way.lose_answers(lost)
            await writes[lost](queue)
            self._way.heal()

    async def ended(self) -> None:
        """What must be so when all is over: nobody's word cancelled a job."""
        rows = await self._run.fetch(
            "SELECT DISTINCT job_id FROM control_plane.job_events WHERE to_status = 'cancelled' OR verb = 'cancel'"
        )
        strange = {row["job_id"] for row in rows} - self.cancelled
        self.found += [f"I12: job {job_id} was cancelled by a stranger's word" for job_id in strange]

    async def _enqueue(self, queue: JobQueue) -> None:
        key = f"answer lost {next(self._numbers)}"
        made = await JournallingClient(queue, self._run.journal).enqueue("work", {}, key=key, max_attempts=50)
        if made.existing:
            self.found.append(f"I2: the first enqueue of {key!r} was answered with existing=True")

    async def _enqueue_many(self, queue: JobQueue) -> None:
        client = JournallingClient(queue, self._run.journal)
        try:
            await client.enqueue_many(jobs_of("work", [{}] * 5, max_attempts=50))
        except OutcomeUnknownError:
            return  # said so: the caller looks for itself

    async def _retry(self, queue: JobQueue) -> None:
        found = await self._run.fetch(
            "SELECT id, max_attempts FROM control_plane.jobs WHERE status = 'completed' AND queue = 'default' "
            "ORDER BY id LIMIT 1"
        )
        if not found:
            return
        job_id, before = found[0]["id"], found[0]["max_attempts"]
        try:
            await queue.retry(job_id, extra_attempts=1)
        except OutcomeUnknownError:
            return
        job = await self._run.queue.get_job(job_id)
        if job is not None and job.max_attempts != before + 1:
            self.found.append(
                f"I10: one retry of {job_id} granted {job.max_attempts - before} attempts instead of 1"
            )

    async def _cancel(self, queue: JobQueue) -> None:
        key = f"to be cancelled {next(self._numbers)}"
        made = await self._run.client.enqueue_surely("work", {}, key=key, delay=3600)
        self.cancelled.add(made.id)
        try:
            await queue.cancel(made.id)
        except OutcomeUnknownError:
            return
        job = await self._run.job(made.id)
        if job.status != "cancelled":
            self.found.append(f"I12: {made.id} was said to be cancelled, and is {job.status}")


def _fork(run: FaultRun, name: str) -> list[str]:
    brief = replace(
        DatabaseSettings(url=run.url), patience=timedelta(seconds=5), statement_timeout=timedelta(seconds=5)
    )
    with SyncJobQueue(settings=brief) as queue:
        wrong = live(run, queue, f"{name} parent", 1)
        children = [
            Child(partial(live, run, queue, f"{name} child {index}", EACH)) for index in range(CHILDREN)
        ]
        wrong += live(run, queue, f"{name} parent again", 1)
        return wrong + [said for child in children for said in answer(child)]


def live(run: FaultRun, queue: SyncJobQueue, who: str, count: int) -> list[str]:
    """Write jobs and read each back, as a process that shares its client with its parent; says what was wrong."""
    wrong = []
    for index in range(count):
        key = f"{who} {index}"
        run.journal.write(event="invoke", op="enqueue", call=key, key=key)
        try:
            made = queue.enqueue("work", {"who": key}, idempotency_key=key)
            job = queue.get_job(made.id)
        except Exception as error:  # noqa: BLE001 - whatever the answer of another looks like
            run.journal.write(event="info", op="enqueue", call=key, key=key)
            wrong.append(f"{key}: {type(error).__name__}")
            continue
        run.journal.write(event="ok", op="enqueue", call=key, key=key, job=made.id)
        if job is None or job.payload != {"who": key}:
            wrong.append(f"{key}: {'nothing' if job is None else 'the job of another'}")
    return wrong


def answer(child: Child) -> list[str]:
    """What a child of `live` says was wrong, or that it did not answer."""
    try:
        said = child.answer()
    except AssertionError as error:
        return [str(error)[-300:]]
    return [str(each) for each in said] if isinstance(said, list) else [repr(said)]
