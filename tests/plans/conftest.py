"""A million finished jobs and a few that wait, loaded once: right after the load, and analysed."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Final

import asyncpg
import pytest

from jobplane import DatabaseSettings
from jobplane.store.migrator import Migrator
from jobplane.store.session import WORKER_SESSION
from tests.factories import SQL
from tests.support import on_database

FINISHED: Final = 1_000_000
# Time-ordered ids, as our clients make them. One job in a hundred failed, one in a hundred was cancelled; a few run,
# some of those under expired leases; then come those that wait, due or not, in two queues.
LOAD: Final = f"""
INSERT INTO control_plane.jobs
    (id, type, payload, status, attempts, lease_epoch, scheduled_at, started_at, completed_at, created_at, worker_id,
     lease_expires_at, unique_key, queue, priority)
SELECT
    (lpad(to_hex(1700000000000 + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
    'rotate_key',
    jsonb_build_object('n', n),
    status,
    CASE status WHEN 'pending' THEN 0 ELSE 1 END,
    CASE status WHEN 'pending' THEN 0 ELSE 1 END,
    CASE
        WHEN n > {FINISHED} + 4000 THEN now() + n * interval '1 second'
        ELSE now() - interval '30 days' + n * interval '2.5 seconds'
    END,
    CASE WHEN status <> 'pending' THEN now() END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN now() END,
    now(),
    CASE WHEN status <> 'pending' THEN 'w' END,
    CASE WHEN status = 'running' THEN now() + (n % 20 - 10.5) * interval '1 minute' END,
    CASE WHEN n % 50 = 0 THEN 'key-' || n END,
    CASE WHEN n % 10 = 3 THEN 'mail' ELSE 'default' END,
    n % 3
FROM (
    SELECT n, CASE
        WHEN n > {FINISHED} + 100 THEN 'pending'
        WHEN n > {FINISHED} THEN 'running'
        WHEN n % 100 = 0 THEN 'failed'
        WHEN n % 100 = 1 THEN 'cancelled'
        ELSE 'completed'
    END AS status
    FROM generate_series(1, {FINISHED} + 5000) AS n
) AS job
"""


@dataclass(frozen=True)
class Loaded:
    """The two databases by the state of their statistics."""

    urls: dict[str, str]


@pytest.fixture(scope="session")
def loaded(server_url: str) -> Iterator[Loaded]:
    """Loads the jobs once; the second database is a copy of the first, vacuumed and analysed."""
    names = {state: f"jobplane_plans_{uuid.uuid4().hex[:12]}" for state in ("stale", "analysed")}
    urls = {state: on_database(server_url, name) for state, name in names.items()}

    async def run(url: str, *statements: str) -> None:
        connection = await asyncpg.connect(url)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    async def make() -> None:
        await run(server_url, f'CREATE DATABASE "{names["stale"]}"')
        await Migrator(DatabaseSettings(url=urls["stale"])).up()
        # Statistics of an empty table, as a queue has them before its first load.
        await run(
            urls["stale"],
            "ALTER TABLE control_plane.jobs SET (autovacuum_enabled = off)",
            "VACUUM ANALYZE control_plane.jobs",
            LOAD,
        )
        await run(
            server_url,
            f'CREATE DATABASE "{names["analysed"]}" TEMPLATE "{names["stale"]}" STRATEGY file_copy',
        )
        await run(urls["analysed"], "VACUUM ANALYZE control_plane.jobs")

    asyncio.run(make())
    yield Loaded(urls)
    for name in names.values():
        asyncio.run(run(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture(params=["stale", "analysed"])
def jobs_url(request: pytest.FixtureRequest, loaded: Loaded) -> str:
    """The database with a million jobs, under either statistics."""
    return loaded.urls[request.param]


@pytest.fixture
async def worker(jobs_url: str) -> AsyncIterator[SQL]:
    """A connection as workers hold it."""
    connection = await asyncpg.connect(jobs_url)
    await connection.execute(WORKER_SESSION.for_session)
    yield connection
    await connection.close()


@pytest.fixture
async def client(jobs_url: str) -> AsyncIterator[SQL]:
    """A connection as clients hold it, and as anybody does who looks."""
    connection = await asyncpg.connect(jobs_url)
    yield connection
    await connection.close()
