"""What a client and a worker of the first release send, word for word: they must be able to go on on every later schema.

Frozen: a change of the product's own statements does not belong here.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import Final

import asyncpg

SCHEMA_VERSION: Final = 7
"""The oldest schema on which these find all that they need."""
INSERT: Final = """
INSERT INTO control_plane.jobs
    (id, type, payload, queue, priority, max_attempts, scheduled_at, unique_key, tags, retry_policy)
VALUES ($1::uuid, $2::text, $3::text::jsonb, $4::text, $5::smallint, $6::integer,
    COALESCE($7::timestamptz, now()) + make_interval(secs => $8::float8), $9::text, $10::text[], $11::text::jsonb)
ON CONFLICT DO NOTHING
RETURNING id, type, status, scheduled_at, created_at
"""
CLAIM: Final = """
UPDATE control_plane.jobs AS job
SET status = 'running', attempts = job.attempts + 1, lease_epoch = job.lease_epoch + 1,
    lease_expires_at = now() + make_interval(secs => $1::float8), started_at = now(), worker_id = $2::text
WHERE job.id = ANY (ARRAY(
    SELECT due.id
    FROM control_plane.jobs AS due
    WHERE due.status = 'pending' AND due.queue = $3::text AND due.scheduled_at <= now()
        AND due.type = ANY ($4::text[])
        AND NOT EXISTS (
            SELECT FROM control_plane.queues AS q WHERE q.name = $3::text AND q.paused_at IS NOT NULL
        )
    ORDER BY due.priority DESC, due.scheduled_at, due.id
    LIMIT $5::bigint
    FOR NO KEY UPDATE OF due SKIP LOCKED
))
RETURNING
    job.id, job.type, job.payload, job.attempts, job.max_attempts, job.lease_epoch, job.queue, job.priority,
    job.scheduled_at, job.created_at, job.started_at, job.unique_key, job.tags, job.progress, job.retry_policy
"""
COMPLETE: Final = """
UPDATE control_plane.jobs AS job
SET status = 'completed', completed_at = now(), lease_expires_at = NULL
FROM unnest($1::uuid[], $2::bigint[]) AS done (id, epoch)
WHERE job.id = done.id AND job.lease_epoch = CASE job.status WHEN 'running' THEN done.epoch END
RETURNING job.id
"""
BEAT: Final = """
INSERT INTO control_plane.workers (id, host, pid, version, queues, types, running)
VALUES ($1::text, 'h', 1, '0.1.0', '{}', '{work}', 0)
ON CONFLICT (id) DO UPDATE SET heartbeat_at = now(), running = excluded.running
"""


class Release:
    """One client and some workers of the first release, at work until they are told to stop."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.over = asyncio.Event()
        self.enqueued = 0
        self.slowest_enqueue = 0.0
        self.claimed_at: list[float] = []
        self.completed = 0
        self.lost = 0
        self.waits = 0
        """How often a statement gave way to a lock, to be repeated."""

    async def enqueue(self) -> None:
        """About 100 jobs a second."""
        connection = await asyncpg.connect(self._url)
        while not self.over.is_set():
            began = time.monotonic()
            await connection.fetch(
                INSERT, uuid.uuid4(), "work", "{}", "default", 0, 3, None, 0.0, None, None, None
            )
            self.enqueued += 1
            self.slowest_enqueue = max(self.slowest_enqueue, time.monotonic() - began)
            await asyncio.sleep(0.01)
        await connection.close()

    async def work(self, name: str) -> None:
        """Claim and complete, until there is nothing left after the end."""
        connection = await asyncpg.connect(self._url)
        await connection.execute(
            "SET enable_seqscan = off; SET enable_sort = off; SET enable_bitmapscan = off; SET lock_timeout = '200ms'"
        )
        while True:
            over = self.over.is_set()
            claims = await self._patiently(connection, CLAIM, 45.0, name, "default", ["work"], 10)
            if claims:
                self.claimed_at.append(time.monotonic())
                ids, epochs = [row["id"] for row in claims], [row["lease_epoch"] for row in claims]
                done = await self._patiently(connection, COMPLETE, ids, epochs)
                self.completed += len(done)
                self.lost += len(claims) - len(done)
            elif over:
                break
            await self._patiently(connection, BEAT, name)
            await asyncio.sleep(0.01)
        await connection.close()

    async def _patiently(
        self, connection: asyncpg.Connection[asyncpg.Record], statement: str, *values: object
    ) -> list[asyncpg.Record]:
        while True:
            try:
                return await connection.fetch(statement, *values)
            except asyncpg.LockNotAvailableError:
                self.waits += 1
