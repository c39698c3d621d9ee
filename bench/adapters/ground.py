"""What jobplane and raw find in the database: the same tables, and jobs like those that a client writes."""

from __future__ import annotations

from typing import Final
from uuid import UUID

import asyncpg

from bench.harness.adapter import PRIORITIES, QUEUES
from jobplane.ids import new_job_id
from jobplane.settings import DatabaseSettings
from jobplane.store.migrator import Migrator

PAYLOAD: Final = '{"project_id": "0190b0c2-7f6e-7c3e-8a53-0123456789ab", "size": 12345678}'
FINISHED: Final = """
INSERT INTO control_plane.jobs
    (id, type, payload, status, attempts, lease_epoch, worker_id, started_at, completed_at)
SELECT control_plane.new_job_id(), 'noop', $1::jsonb, 'completed', 1, 1, 'bench', now(), now()
FROM generate_series(1, $2)
"""
FUTURE: Final = """
INSERT INTO control_plane.jobs (id, type, payload, scheduled_at)
SELECT control_plane.new_job_id(), 'noop', $1::jsonb, now() + interval '1 day'
FROM generate_series(1, $2)
"""


async def schema(url: str, _jobs: int) -> None:
    """All migrations."""
    await Migrator(DatabaseSettings(url=url)).up()


async def waiting(url: str, jobs: int) -> None:
    """Jobs with a payload of about 70 bytes, and ids in the order of time: as a client writes them."""
    records = [(new_job_id(), "noop", PAYLOAD, "default", 0) for _ in range(jobs)]
    await _copy(url, records)


async def spread(url: str, jobs: int) -> None:
    """The same over ten queues, with five priorities in each."""
    records = [
        (new_job_id(), "noop", PAYLOAD, f"q{number % QUEUES}", number // QUEUES % PRIORITIES)
        for number in range(jobs)
    ]
    await _copy(url, records)


async def finished(url: str, jobs: int) -> None:
    """Jobs that were completed just now."""
    await _execute(url, FINISHED, jobs)


async def future(url: str, jobs: int) -> None:
    """Jobs that are due tomorrow."""
    await _execute(url, FUTURE, jobs)


GROUNDS: Final = {
    "schema": schema,
    "waiting": waiting,
    "spread": spread,
    "finished": finished,
    "future": future,
}


async def _copy(url: str, records: list[tuple[UUID, str, str, str, int]]) -> None:
    connection = await asyncpg.connect(url)
    columns = ("id", "type", "payload", "queue", "priority")
    await connection.copy_records_to_table(
        "jobs", schema_name="control_plane", columns=columns, records=records
    )
    await connection.close()


async def _execute(url: str, statement: str, jobs: int) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement, PAYLOAD, jobs)
    await connection.close()
