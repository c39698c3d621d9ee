"""A job in any state with one call, and what is needed to look at it: the row, its claim."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from jobplane.ids import new_job_id
from jobplane.job import Claim, JobStatus

SQL: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_ENDED: Final[Mapping[str, object]] = {
    "attempts": 1,
    "lease_epoch": 1,
    "worker_id": "worker-1",
    "started_at": timedelta(seconds=-2),
    "completed_at": timedelta(seconds=-1),
}
_STATES: Final[Mapping[JobStatus, Mapping[str, object]]] = {
    JobStatus.PENDING: {},
    JobStatus.RUNNING: {
        "attempts": 1,
        "lease_epoch": 1,
        "worker_id": "worker-1",
        "started_at": timedelta(seconds=-1),
        "lease_expires_at": timedelta(seconds=45),
    },
    JobStatus.COMPLETED: _ENDED,
    JobStatus.FAILED: {**_ENDED, "last_error": "ValueError: no"},
    JobStatus.CANCELLED: {
        "completed_at": timedelta(seconds=-1),
        "cancel_requested_at": timedelta(seconds=-1),
    },
}


async def make_job(sql: SQL, status: JobStatus = JobStatus.PENDING, **columns: object) -> UUID:
    """Write a job as it stands in the given status; `columns` win.

    A timedelta is a time relative to the database's now(); a mapping becomes JSON.
    """
    values: dict[str, object] = {"id": new_job_id(), "type": "work", "status": status.value}
    values |= {**_STATES[status], **columns}
    places = ", ".join(
        f"now() + ${number}::interval" if isinstance(value, timedelta) else f"${number}"
        for number, value in enumerate(values.values(), 1)
    )
    plain = [json.dumps(value) if isinstance(value, Mapping) else value for value in values.values()]
    job_id: UUID = await sql.fetchval(
        f"INSERT INTO control_plane.jobs ({', '.join(values)}) VALUES ({places}) RETURNING id", *plain
    )
    return UUID(int=job_id.int)


async def row_of(sql: SQL, job_id: UUID) -> asyncpg.Record:
    """The job's row, as any SQL client sees it. It must exist."""
    row = await sql.fetchrow("SELECT * FROM control_plane.jobs WHERE id = $1", job_id)
    assert row is not None, f"there is no job {job_id}"
    return row


async def claim_of(sql: SQL, job_id: UUID) -> Claim:
    """The claim that a worker holds on a running job."""
    row = await row_of(sql, job_id)
    return Claim(
        id=UUID(int=row["id"].int),
        type=row["type"],
        payload=row["payload"],
        attempt=row["attempts"],
        max_attempts=row["max_attempts"],
        epoch=row["lease_epoch"],
        queue=row["queue"],
        priority=row["priority"],
        scheduled_at=row["scheduled_at"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        unique_key=row["unique_key"],
        tags=row["tags"],
        progress=row["progress"],
        retry_policy=row["retry_policy"],
        lease_ends=time.monotonic() + 45,
    )


async def count_jobs(sql: SQL) -> int:
    """How many rows there are."""
    count: int = await sql.fetchval("SELECT count(*) FROM control_plane.jobs")
    return count


async def attempts_of(sql: SQL, job_id: UUID) -> list[asyncpg.Record]:
    """The rows of job_attempts, oldest first."""
    return await sql.fetch(
        "SELECT * FROM control_plane.job_attempts WHERE job_id = $1 ORDER BY epoch", job_id
    )
