"""The ceiling: the best statements known, in a bare asyncpg loop, without a handler, an error path or a heartbeat.

The statements are jobplane's own where those are the best known; the faster this file is made, the more honest
the ratios are.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from uuid import UUID

import asyncpg

from bench.harness.adapter import Stopwatch, paced, percentiles, run_adapter
from jobplane.ids import new_job_id

PAYLOAD = '{"project_id": "0190b0c2-7f6e-7c3e-8a53-0123456789ab", "size": 12345678}'
LANES = 3
BATCH = 500
SESSION = (
    "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; "
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"
)
INSERT = "INSERT INTO control_plane.jobs (id, type, payload) VALUES ($1, $2, $3) RETURNING id, scheduled_at, created_at"
CLAIM = """
UPDATE control_plane.jobs
SET status = 'running', attempts = attempts + 1, lease_epoch = lease_epoch + 1,
    lease_expires_at = now() + interval '45 s', started_at = now(), worker_id = 'raw'
WHERE id = ANY (ARRAY(
    SELECT id FROM control_plane.jobs
    WHERE status = 'pending' AND queue = 'default' AND scheduled_at <= now()
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
    watch = Stopwatch()
    for _ in range(jobs):
        await statement.fetch(new_job_id(), "noop", PAYLOAD)
    return watch.per(jobs)


async def bulk(url: str, jobs: int) -> dict[str, float]:
    """One binary COPY of ready-made rows."""
    connection = await asyncpg.connect(url)
    watch = Stopwatch()
    now = datetime.now(UTC)
    records = [(new_job_id(), "noop", PAYLOAD, "default", 0, 3, now) for _ in range(jobs)]
    columns = ("id", "type", "payload", "queue", "priority", "max_attempts", "scheduled_at")
    await connection.copy_records_to_table(
        "jobs", schema_name="control_plane", columns=columns, records=records
    )
    return watch.per(jobs)


async def drain(url: str, jobs: int) -> dict[str, float]:
    """Claim and complete in batches on a few connections at once."""
    connections = [await asyncpg.connect(url) for _ in range(LANES)]
    done = 0

    async def lane(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        nonlocal done
        await connection.execute(SESSION)
        claim, complete = await connection.prepare(CLAIM), await connection.prepare(COMPLETE)
        while rows := await claim.fetch(BATCH):
            completed = await complete.fetch([row[0] for row in rows], 1)
            done += len(completed)

    watch = Stopwatch()
    await asyncio.gather(*map(lane, connections))
    if done != jobs:
        raise SystemExit(f"raw drained {done} of {jobs} jobs")
    return watch.per(jobs)


async def pickup(url: str, jobs: int) -> dict[str, float]:
    """INSERT, then NOTIFY from a second connection; a listener claims at once. 100 a second."""
    producer, notifier, consumer, listener = [await asyncpg.connect(url) for _ in range(4)]
    await consumer.execute(SESSION)
    sent: dict[UUID, float] = {}
    took: list[float] = []
    woken = asyncio.Event()
    await listener.add_listener("raw", lambda *_: woken.set())

    async def consume() -> None:
        while len(took) < jobs:
            await woken.wait()
            woken.clear()
            while rows := await consumer.fetch(CLAIM, 10):
                now = time.perf_counter()
                took.extend((now - sent[UUID(str(row[0]))]) * 1000 for row in rows)
                await consumer.fetch(COMPLETE, [row[0] for row in rows], 1)

    consuming = asyncio.create_task(consume())
    await paced(jobs, 100, lambda: _produce(producer, notifier, sent))
    await consuming
    return percentiles(took)


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
    run_adapter({"single": single, "bulk": bulk, "drain": drain, "pickup": pickup})
