"""AC5: all database queries use proper indexes (status, scheduled_at). tests/plans does the same at a million rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import asyncpg
import pytest

from jobplane import DatabaseSettings
from jobplane.store.migrator import Migrator
from tests.factories import SQL
from tests.plans.explain import explain

NAMES: Final = {"idx_jobs_status", "idx_jobs_scheduled_at", "idx_jobs_status_scheduled_at"}
INDEXES: Final = (
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'control_plane' AND tablename = 'jobs'"
)
BY_STATUS: Final = "SELECT id, type FROM control_plane.jobs WHERE status = 'failed'"
BY_TIME: Final = (
    "SELECT id FROM control_plane.jobs "
    "WHERE scheduled_at BETWEEN '2026-01-01 00:00:10+00' AND '2026-01-01 00:00:20+00'"
)
POLLING: Final = "SELECT id FROM control_plane.jobs WHERE status = 'pending' AND scheduled_at <= now() ORDER BY scheduled_at LIMIT 10"
BY_ID: Final = "SELECT * FROM control_plane.jobs WHERE id = '01900000-0000-7000-8000-000000000000'"
ROWS: Final = """
INSERT INTO control_plane.jobs (id, type, status, scheduled_at, completed_at)
SELECT
    gen_random_uuid(),
    'rotate_key',
    CASE WHEN n % 500 = 0 THEN 'failed' WHEN n > 19900 THEN 'pending' ELSE 'completed' END,
    timestamptz '2026-01-01 00:00:00+00' + n * interval '100 milliseconds',
    now()
FROM generate_series(1, 20000) AS n
"""


@pytest.fixture(params=[3, None], ids=["contract", "newest"])
async def filled(request: pytest.FixtureRequest, empty_database_url: str) -> AsyncIterator[SQL]:
    """20,000 rows, nearly all finished, on the contract's table and on the newest."""
    version: int | None = request.param
    await Migrator(DatabaseSettings(url=empty_database_url)).up(to=version)
    connection = await asyncpg.connect(empty_database_url)
    await connection.execute(ROWS)
    await connection.execute("VACUUM ANALYZE control_plane.jobs")
    yield connection
    await connection.close()


async def test_ac5_the_three_indexes_exist_with_the_contracts_definitions(empty_database_url: str) -> None:
    await Migrator(DatabaseSettings(url=empty_database_url)).up(to=3)
    connection = await asyncpg.connect(empty_database_url)

    found = {row["indexname"]: row["indexdef"] for row in await connection.fetch(INDEXES)}

    await connection.close()
    assert found == {
        "jobs_pkey": "CREATE UNIQUE INDEX jobs_pkey ON control_plane.jobs USING btree (id)",
        "idx_jobs_status": "CREATE INDEX idx_jobs_status ON control_plane.jobs USING btree (status)",
        "idx_jobs_scheduled_at": "CREATE INDEX idx_jobs_scheduled_at ON control_plane.jobs USING btree (scheduled_at)",
        "idx_jobs_status_scheduled_at": (
            "CREATE INDEX idx_jobs_status_scheduled_at ON control_plane.jobs USING btree (status, scheduled_at)"
        ),
    }


async def test_ac5_the_newest_table_keeps_the_three_names(sql: SQL) -> None:
    found = {row["indexname"] for row in await sql.fetch(INDEXES)}

    assert found >= NAMES
    assert not found - NAMES - {"jobs_pkey", "idx_jobs_unique_key"}, "each further index costs every job"


async def test_ac5_select_by_id_uses_the_primary_key(filled: SQL) -> None:
    plan = await explain(filled, BY_ID, run=True)

    assert plan.indexes == {"jobs_pkey"}, plan.text


async def test_ac5_status_filtering_uses_idx_jobs_status(filled: SQL) -> None:
    plan = await explain(filled, BY_STATUS, run=True)

    assert plan.indexes == {"idx_jobs_status"}, plan.text


async def test_ac5_time_based_queries_use_idx_jobs_scheduled_at(filled: SQL) -> None:
    plan = await explain(filled, BY_TIME, run=True)

    assert plan.indexes == {"idx_jobs_scheduled_at"}, plan.text


async def test_ac5_worker_polling_uses_the_composite_index(filled: SQL) -> None:
    plan = await explain(filled, POLLING, run=True)

    assert plan.indexes == {"idx_jobs_status_scheduled_at"}, plan.text
