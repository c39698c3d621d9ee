"""The ceiling: the best statements known, in a bare asyncpg loop, without a handler, an error path or a heartbeat.

The statements are jobplane's own where those are the best known; the faster this file is made, the more honest
the ratios are.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from bench.adapters.ground import GROUNDS, PAYLOAD
from bench.adapters.producer import RATE, start_producer
from bench.harness.adapter import (
    QUEUES,
    Arrivals,
    Tally,
    begin,
    paced,
    run_adapter,
    steady,
    together,
)
from jobplane.ids import new_job_id

LANES = 3
WRITERS = 2
BATCH = 500
COLUMNS = ("id", "type", "payload", "queue", "priority", "max_attempts", "scheduled_at")
SESSION = (
    "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; "
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
)
INSERT = "INSERT INTO control_plane.jobs (id, type, payload) VALUES ($1, $2, $3) RETURNING id, scheduled_at, created_at"
INSERT_MANY = """
INSERT INTO control_plane.jobs (id, type, payload)
SELECT id, 'noop', $2 FROM unnest($1::uuid[]) AS id
RETURNING id, scheduled_at, created_at
"""
CLAIM = """
UPDATE control_plane.jobs
SET status = 'running', attempts = attempts + 1, lease_epoch = lease_epoch + 1,
    lease_expires_at = now() + interval '45 s', started_at = now(), worker_id = 'raw'
WHERE id = ANY (ARRAY(
    SELECT id FROM control_plane.jobs
    WHERE status = 'pending' AND queue = $2 AND scheduled_at <= now()
    ORDER BY priority DESC, scheduled_at, id LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED))
RETURNING id, type, payload, attempts, lease_epoch
"""
COMPLETE = """
UPDATE control_plane.jobs
SET status = 'completed', completed_at = now()
WHERE id = ANY ($1::uuid[]) AND lease_epoch = CASE status WHEN 'running' THEN $2::bigint END
RETURNING id
"""


async def single(url: str, jobs: int) -> dict[str, float]:
    """A prepared INSERT and its commit, one after the other."""
    connection = await asyncpg.connect(url)
    statement = await connection.prepare(INSERT)
    for _ in range(50):
        await statement.fetch(new_job_id(), "noop", PAYLOAD)
    watch = await begin()
    for _ in range(jobs):
        await statement.fetch(new_job_id(), "noop", PAYLOAD)
    return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """One binary COPY of ready-made rows."""
    connection = await asyncpg.connect(url)
    watch = await begin()
    now = datetime.now(UTC)
    records = [(new_job_id(), "noop", PAYLOAD, "default", 0, 3, now) for _ in range(jobs)]
    await connection.copy_records_to_table(
        "jobs", schema_name="control_plane", columns=COLUMNS, records=records
    )
    return watch.per(jobs)


async def concurrent(url: str, jobs: int) -> dict[str, float]:
    """A hundred tasks; what waits at a moment goes in one statement, and so in one commit."""
    gatherer = Gatherer()
    writers = [asyncio.create_task(gatherer.write(await asyncpg.connect(url))) for _ in range(WRITERS)]
    watch = await begin()
    await together(jobs, gatherer.insert)
    result = watch.per(jobs)
    for writer in writers:
        writer.cancel()
    return result


async def drain(url: str, jobs: int) -> dict[str, float]:
    """Claim and complete in batches on a few connections at once."""
    return await _drain(url, jobs, ["default"])


async def queues(url: str, jobs: int) -> dict[str, float]:
    """The same, one queue after the other."""
    return await _drain(url, jobs, [f"q{number}" for number in range(QUEUES)])


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """INSERT, then NOTIFY from a second connection; a listener claims at once. 100 a second."""
    producer, notifier, consumer, listener = [await asyncpg.connect(url) for _ in range(4)]
    sent: dict[UUID, float] = {}
    arrivals = Arrivals(jobs)
    consuming = asyncio.create_task(_consume(consumer, listener, sent, arrivals))
    await begin()
    await paced(jobs, 100, lambda: _produce(producer, notifier, sent))
    figures = await arrivals.figures()
    consuming.cancel()
    return figures


async def pickup1000(url: str, jobs: int) -> dict[str, float]:
    """1,000 a second, gathered as in `concurrent`."""
    consumer, listener = [await asyncpg.connect(url) for _ in range(2)]
    sent: dict[UUID, float] = {}
    arrivals = Arrivals(jobs)
    gatherer = Gatherer(notify=True)
    writers = [asyncio.create_task(gatherer.write(await asyncpg.connect(url))) for _ in range(WRITERS)]
    consuming = asyncio.create_task(_consume(consumer, listener, sent, arrivals))

    def produce(due: float) -> Awaitable[None]:
        job_id = new_job_id()
        sent[job_id] = due
        return gatherer.insert(job_id)

    await begin()
    await steady(jobs, 1000, produce)
    figures = await arrivals.figures()
    for task in (*writers, consuming):
        task.cancel()
    return figures


async def burst(url: str, jobs: int) -> dict[str, float]:
    """One COPY while the lanes of `drain` look again and again."""
    producer = await asyncpg.connect(url)
    tally = Tally(jobs, silent=True)
    connections = [await asyncpg.connect(url) for _ in range(LANES)]
    lanes = [asyncio.create_task(_work(lane, tally)) for lane in connections]
    watch = await begin()
    now = datetime.now(UTC)
    await producer.copy_records_to_table(
        "jobs",
        schema_name="control_plane",
        columns=COLUMNS,
        records=[(new_job_id(), "noop", PAYLOAD, "default", 0, 3, now) for _ in range(jobs)],
    )
    await tally.complete.wait()
    result = watch.per(jobs)
    for lane in lanes:
        lane.cancel()
    return result


async def flow(url: str, jobs: int) -> dict[str, float]:
    """The lanes of `drain`, beside a process that enqueues at a steady rate."""
    arrivals = Arrivals(jobs)
    tally = Tally(jobs, silent=True)
    connections = [await asyncpg.connect(url) for _ in range(LANES)]

    def note(rows: list[asyncpg.Record]) -> None:
        for row in rows:
            arrivals.note(json.loads(row[2])["sent"])

    watch = await begin()
    lanes = [asyncio.create_task(_work(lane, tally, note)) for lane in connections]
    producer = await start_producer(url, jobs)
    figures = await arrivals.figures(jobs / RATE)
    result = watch.per(jobs)
    for lane in lanes:
        lane.cancel()
    await producer.wait()
    return {**result, **figures}


async def _work(
    connection: asyncpg.Connection[asyncpg.Record],
    tally: Tally,
    note: Callable[[list[asyncpg.Record]], None] = lambda _rows: None,
) -> None:
    await connection.execute(SESSION)
    claim, complete = await connection.prepare(CLAIM), await connection.prepare(COMPLETE)
    while True:
        if rows := await claim.fetch(BATCH, "default"):
            note(rows)
            tally.add(len(await complete.fetch([row[0] for row in rows], 1)))
        else:
            await asyncio.sleep(0.002)


class Gatherer:
    """Calls that wait for the same commit."""

    def __init__(self, *, notify: bool = False) -> None:
        self._notify = notify
        self._waiting: list[tuple[UUID, asyncio.Future[None]]] = []
        self._some = asyncio.Event()

    async def insert(self, job_id: UUID | None = None) -> None:
        """Return when the row is durable."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job_id or new_job_id(), written))
        self._some.set()
        await written

    async def write(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        """Write what waits, for ever."""
        statement = await connection.prepare(INSERT_MANY)
        while await self._some.wait():
            batch, self._waiting = self._waiting, []
            self._some.clear()
            if not batch:
                continue
            await statement.fetch([job_id for job_id, _ in batch], PAYLOAD)
            for _, written in batch:
                written.set_result(None)
            if self._notify:
                await connection.fetch("SELECT pg_notify('raw', '')")


async def _drain(url: str, jobs: int, names: list[str]) -> dict[str, float]:
    connections = [await asyncpg.connect(url) for _ in range(LANES)]
    tally = Tally(jobs)

    async def lane(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        await connection.execute(SESSION)
        claim, complete = await connection.prepare(CLAIM), await connection.prepare(COMPLETE)
        for name in names:
            while rows := await claim.fetch(BATCH, name):
                tally.add(len(await complete.fetch([row[0] for row in rows], 1)))

    watch = await begin()
    await asyncio.gather(tally.drained(), *map(lane, connections))
    return watch.per(jobs)


async def _consume(
    consumer: asyncpg.Connection[asyncpg.Record],
    listener: asyncpg.Connection[asyncpg.Record],
    sent: dict[UUID, float],
    arrivals: Arrivals,
) -> None:
    woken = asyncio.Event()
    await consumer.execute(SESSION)
    await listener.add_listener("raw", lambda *_: woken.set())
    while await woken.wait():
        woken.clear()
        while rows := await consumer.fetch(CLAIM, 100, "default"):
            for row in rows:
                arrivals.note(sent[UUID(str(row[0]))])
            await consumer.fetch(COMPLETE, [row[0] for row in rows], 1)


async def _produce(
    producer: asyncpg.Connection[asyncpg.Record],
    notifier: asyncpg.Connection[asyncpg.Record],
    sent: dict[UUID, float],
) -> None:
    job_id = new_job_id()
    sent[job_id] = time.perf_counter()
    await producer.fetch(INSERT, job_id, "noop", PAYLOAD)
    await notifier.fetch("SELECT pg_notify('raw', '')")


if __name__ == "__main__":
    run_adapter(
        {
            "single": single,
            "concurrent": concurrent,
            "bulk": bulk,
            "drain": drain,
            "queues": queues,
            "pickup": pickup,
            "pickup1000": pickup1000,
            "burst": burst,
            "flow": flow,
        },
        GROUNDS,
    )
