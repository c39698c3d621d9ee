"""A jobs table that other software made from the same contract is taken over with every row as it was."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from jobplane import DatabaseSettings, MigrationError
from jobplane.store.database import Database
from jobplane.store.migrator import Migrator
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from tests.factories import SQL

FOREIGN = """
CREATE SCHEMA control_plane;
CREATE TABLE control_plane.jobs (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    type TEXT NOT NULL,
    payload JSONB DEFAULT '{}',
    status TEXT DEFAULT 'pending' CONSTRAINT status_is_known CHECK (status IN ('pending', 'running', 'completed', 'failed')),
    attempts INTEGER DEFAULT 0 CHECK (attempts >= 0),
    max_attempts INTEGER DEFAULT 3 CHECK (max_attempts > 0),
    last_error TEXT,
    scheduled_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    started_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX idx_jobs_status ON control_plane.jobs (status);
CREATE INDEX idx_jobs_scheduled_at ON control_plane.jobs (scheduled_at);
CREATE INDEX idx_jobs_status_scheduled_at ON control_plane.jobs (status, scheduled_at);
"""
ROWS = """
INSERT INTO control_plane.jobs (
    id, type, payload, status, attempts, max_attempts, last_error, scheduled_at, started_at, completed_at, created_at
)
SELECT
    gen_random_uuid(),
    (ARRAY['provision_project', 'rotate_key', 'deliver_webhook'])[1 + n % 3],
    CASE
        WHEN n % 1000 = 1 THEN NULL
        WHEN n % 10 = 0 THEN jsonb_build_object('n', n, 'priority', n % 100)
        WHEN n % 10 = 5 THEN jsonb_build_object('n', n, 'priority', 'high')
        WHEN n % 500 = 7 THEN jsonb_build_object('n', n, 'priority', 1e9)
        ELSE jsonb_build_object('n', n)
    END,
    CASE
        WHEN n % 1000 = 2 THEN NULL
        WHEN n % 20 = 0 THEN 'pending'
        WHEN n % 20 = 7 THEN 'pending'
        WHEN n % 20 = 1 THEN 'running'
        WHEN n % 20 = 2 THEN 'failed'
        ELSE 'completed'
    END,
    CASE WHEN n % 1000 = 3 THEN NULL ELSE n % 3 END,
    CASE WHEN n % 1000 = 4 THEN NULL ELSE 3 END,
    CASE WHEN n % 20 = 2 THEN 'Error: ' || n END,
    now() - n * interval '1 second',
    CASE WHEN n % 20 NOT IN (0, 7) THEN now() - n * interval '900 milliseconds' END,
    CASE WHEN n % 20 > 2 THEN now() - n * interval '800 milliseconds' END,
    now() - n * interval '2 seconds'
FROM generate_series(1, 100000) AS n
"""
CHECKSUM = """
SELECT md5(string_agg(line, E'\\n' ORDER BY id)) FROM (
    SELECT id, concat_ws('|', id, type, COALESCE(payload, '{}'), COALESCE(status, 'pending'), COALESCE(attempts, 0),
        COALESCE(max_attempts, 3), last_error, scheduled_at, started_at, completed_at, created_at) AS line
    FROM control_plane.jobs
) AS rows
"""


@pytest.fixture
async def foreign(empty_database_url: str) -> AsyncIterator[SQL]:
    """A database with the other software's table, still empty."""
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(FOREIGN)
    yield connection
    await connection.close()


async def test_a_hundred_thousand_rows_are_taken_over_intact_and_the_pending_ones_run(
    foreign: SQL, empty_database_url: str
) -> None:
    settings = DatabaseSettings(url=empty_database_url)
    await foreign.execute(ROWS)
    before = await foreign.fetchval(CHECKSUM)
    pages = await foreign.fetchval("SELECT pg_relation_filenode('control_plane.jobs')")

    await Migrator(settings).up()

    assert await foreign.fetchval(CHECKSUM) == before
    assert await foreign.fetchval("SELECT count(*) FROM control_plane.jobs") == 100_000
    assert await foreign.fetchval("SELECT pg_relation_filenode('control_plane.jobs')") == pages, (
        "not rewritten"
    )
    pending = await foreign.fetch("SELECT id, payload FROM control_plane.jobs WHERE status = 'pending'")
    database = Database(settings, setup=WORKER_SESSION)
    store = Store(database)
    claimed: list[UUID] = []
    priorities: list[int] = []
    types = ["provision_project", "rotate_key", "deliver_webhook"]
    while batch := await store.claim("default", types, "w", timedelta(seconds=45), 1000):
        assert await store.complete(batch) == {claim.id for claim in batch}
        claimed += [claim.id for claim in batch]
        priorities += [claim.priority for claim in batch]
    await database.close()
    assert len(claimed) == len(pending) > 10_000
    assert set(claimed) == {row["id"] for row in pending}
    wished = sorted((_priority(row["payload"]) for row in pending), reverse=True)
    assert priorities == wished, "payload.priority decides the order"
    assert {0, 80, 1000} <= set(priorities)


def _priority(payload: str) -> int:
    wish = json.loads(payload).get("priority", 0)
    return max(0, min(int(wish), 1000)) if isinstance(wish, int | float) else 0


async def test_a_status_check_without_cancelled_gives_way(foreign: SQL, empty_database_url: str) -> None:
    await foreign.execute("INSERT INTO control_plane.jobs (type) VALUES ('a')")

    await Migrator(DatabaseSettings(url=empty_database_url)).up()

    await foreign.execute("UPDATE control_plane.jobs SET status = 'cancelled'")
    with pytest.raises(asyncpg.CheckViolationError):
        await foreign.execute("UPDATE control_plane.jobs SET status = 'nonsense'")


async def test_the_other_software_goes_on_inserting(foreign: SQL, empty_database_url: str) -> None:
    await Migrator(DatabaseSettings(url=empty_database_url)).up()

    await foreign.execute(
        "INSERT INTO control_plane.jobs (id, type, payload, status, max_attempts, scheduled_at) "
        """VALUES (gen_random_uuid(), 'rotate_key', '{"priority": 7}', 'pending', 3, now())"""
    )

    assert await foreign.fetchval("SELECT priority FROM control_plane.jobs") == 7


async def test_nullable_columns_become_defaults_and_stay_filled(
    foreign: SQL, empty_database_url: str
) -> None:
    await foreign.execute(
        "INSERT INTO control_plane.jobs (type, payload, status, attempts, max_attempts) VALUES ('a', NULL, NULL, NULL, NULL)"
    )

    await Migrator(DatabaseSettings(url=empty_database_url)).up()

    row = await foreign.fetchrow("SELECT payload, status, attempts, max_attempts FROM control_plane.jobs")
    assert row is not None
    assert tuple(row) == ("{}", "pending", 0, 3)
    with pytest.raises(asyncpg.NotNullViolationError):
        await foreign.execute("UPDATE control_plane.jobs SET attempts = NULL")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE control_plane.jobs ALTER COLUMN id DROP DEFAULT, ALTER COLUMN id TYPE text", "id uuid"),
        ("ALTER TABLE control_plane.jobs DROP COLUMN started_at", "started_at timestamp with time zone"),
        ("ALTER TABLE control_plane.jobs ALTER COLUMN payload TYPE json", "payload jsonb"),
        (
            "ALTER TABLE control_plane.jobs ALTER COLUMN scheduled_at TYPE timestamp",
            "scheduled_at timestamp with",
        ),
        ("ALTER TABLE control_plane.jobs DROP CONSTRAINT jobs_pkey", "primary key"),
    ],
)
async def test_a_table_that_is_not_the_contracts_is_refused_before_anything_changes(
    foreign: SQL, empty_database_url: str, change: str, says: str
) -> None:
    await foreign.execute(change)

    with pytest.raises(MigrationError, match=f"(?s)cannot be adopted: it lacks .*{says}.*another schema"):
        await Migrator(DatabaseSettings(url=empty_database_url)).up()

    columns = await foreign.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'control_plane.jobs'::regclass AND attnum > 0"
    )
    assert "queue" not in {row["attname"] for row in columns}
