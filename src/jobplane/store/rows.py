"""Rows to values and values to parameters: the one place that knows the columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TypeAlias, TypedDict, cast
from uuid import UUID

import asyncpg

from jobplane.job import Attempt, Claim, EnqueueJobResult, Job, JobStatus, NewJob, tags_of
from jobplane.payload import decode_json, decode_payload
from jobplane.sql import SQLValue

Row: TypeAlias = Mapping[str, object]
_due = attrgetter("scheduled_at", "id")
_priority = attrgetter("priority")


class JobRow(TypedDict):
    """The columns of job/get and job/list."""

    id: UUID
    type: str
    payload: str
    status: str
    attempts: int
    max_attempts: int
    last_error: str | None
    scheduled_at: datetime | str
    started_at: datetime | str | None
    completed_at: datetime | str | None
    created_at: datetime | str
    queue: str
    priority: int
    lease_epoch: int
    lease_expires_at: datetime | str | None
    worker_id: str | None
    unique_key: str | None
    tags: list[str] | None
    result: str | None
    progress: str | None
    cancel_requested_at: datetime | str | None
    tenant: str | None


class ResultRow(TypedDict):
    """The columns of job/find_twins."""

    id: UUID
    type: str
    status: str
    scheduled_at: datetime | str
    created_at: datetime | str


class TimesRow(TypedDict):
    """The columns of the inserts, beside the id."""

    scheduled_at: datetime | str
    created_at: datetime | str


class AttemptRow(TypedDict):
    """The columns of job/attempts."""

    job_id: UUID
    epoch: int
    attempt: int
    outcome: str
    error_type: str | None
    message: str | None
    frames: str
    worker_id: str | None
    started_at: datetime | None
    ended_at: datetime


def job_of(row: Row) -> Job:
    """A row of job/get or job/list."""
    job = cast("JobRow", row)
    return Job(
        id=as_uuid(job["id"]),
        type=job["type"],
        payload=decode_payload(job["payload"]),
        status=JobStatus(job["status"]),
        attempts=job["attempts"],
        max_attempts=job["max_attempts"],
        last_error=job["last_error"],
        scheduled_at=_time(job["scheduled_at"]),
        started_at=_time_or_none(job["started_at"]),
        completed_at=_time_or_none(job["completed_at"]),
        created_at=_time(job["created_at"]),
        queue=job["queue"],
        priority=job["priority"],
        lease_epoch=job["lease_epoch"],
        lease_expires_at=_time_or_none(job["lease_expires_at"]),
        worker_id=job["worker_id"],
        unique_key=job["unique_key"],
        tags=tags_of(job["tags"]),
        result=None if job["result"] is None else decode_json(job["result"]),
        progress=None if job["progress"] is None else decode_json(job["progress"]),
        cancel_requested_at=_time_or_none(job["cancel_requested_at"]),
        tenant=job["tenant"],
    )


def existing_of(row: Row) -> EnqueueJobResult:
    """A row of job/find_twins."""
    found = cast("ResultRow", row)
    return EnqueueJobResult(
        id=as_uuid(found["id"]),
        type=found["type"],
        status=JobStatus(found["status"]),
        scheduled_at=_time(found["scheduled_at"]),
        created_at=_time(found["created_at"]),
        existing=True,
    )


def written_of(row: Row, job: NewJob) -> EnqueueJobResult:
    """A row of job/insert, job/insert_many or job/insert_fresh, and the job that it was written for."""
    times = cast("TimesRow", row)
    return EnqueueJobResult(
        job.id, job.type, JobStatus.PENDING, _time(times["scheduled_at"]), _time(times["created_at"])
    )


def attempt_of(row: Row) -> Attempt:
    """A row of job/attempts."""
    attempt = cast("AttemptRow", row)
    frames = decode_json(attempt["frames"])
    return Attempt(
        job_id=as_uuid(attempt["job_id"]),
        epoch=attempt["epoch"],
        attempt=attempt["attempt"],
        outcome=attempt["outcome"],
        error_type=attempt["error_type"],
        message=attempt["message"],
        frames=tuple(map(str, frames)) if isinstance(frames, list) else (),
        worker_id=attempt["worker_id"],
        started_at=attempt["started_at"],
        ended_at=attempt["ended_at"],
    )


def claims_of(rows: list[asyncpg.Record], lease_ends: float) -> list[Claim]:
    """The rows of job/claim and job/claim_limited, in claim order; `lease_ends` by the monotonic clock."""
    # By position, in the order of the statements' RETURNING: this is the hot path. Its ids stay the driver's own kind
    # of UUID, which equals the standard one and hashes several times as fast.
    claims = [Claim(*row) for row in rows]
    for claim in claims:
        claim.lease_ends = lease_ends
    # UPDATE returns rows in no promised order. The second sort keeps the order of the first within a priority.
    claims.sort(key=_due)
    claims.sort(key=_priority, reverse=True)
    return claims


def plain_parameters_of(job: NewJob) -> dict[str, SQLValue]:
    """The parameters of job/insert_fresh. Ids travel as text, which every driver's cast understands."""
    return {
        "id": str(job.id),
        "type": job.type,
        "payload": job.payload,
        "queue": job.queue,
        "priority": job.priority,
        "max_attempts": job.max_attempts,
    }


def parameters_of(job: NewJob) -> dict[str, SQLValue]:
    """The parameters of job/insert."""
    return {
        **plain_parameters_of(job),
        "scheduled_at": job.scheduled_at,
        "delay": job.delay.total_seconds(),
        "unique_key": job.unique_key,
        "tags": None if job.tags is None else list(job.tags),
        "retry_policy": job.retry_policy,
        "tenant": job.tenant,
    }


def columns_of(jobs: Sequence[NewJob]) -> dict[str, SQLValue]:
    """The parameters of job/insert_many: one array for each column, "" for what a job does not have."""
    return {
        "ids": [str(job.id) for job in jobs],
        "types": [job.type for job in jobs],
        "payloads": [job.payload for job in jobs],
        "queues": [job.queue for job in jobs],
        "priorities": [job.priority for job in jobs],
        "max_attempts": [job.max_attempts for job in jobs],
        "scheduled_ats": ["" if job.scheduled_at is None else job.scheduled_at.isoformat() for job in jobs],
        "delays": [job.delay.total_seconds() for job in jobs],
        "unique_keys": [job.unique_key or "" for job in jobs],
        "tags": ["" if job.tags is None else json.dumps(job.tags) for job in jobs],
        "retry_policies": [job.retry_policy or "" for job in jobs],
        "tenants": [job.tenant or "" for job in jobs],
    }


COPY_COLUMNS = (
    "id",
    "type",
    "payload",
    "queue",
    "priority",
    "max_attempts",
    "scheduled_at",
    "unique_key",
    "tags",
    "retry_policy",
    "tenant",
)


def record_of(job: NewJob, now: datetime) -> tuple[object, ...]:
    """The values of COPY_COLUMNS. COPY evaluates no expressions, so the caller asks the database for its now()."""
    return (
        job.id,
        job.type,
        job.payload,
        job.queue,
        job.priority,
        job.max_attempts,
        (job.scheduled_at or now) + job.delay,
        job.unique_key,
        job.tags,
        job.retry_policy,
        job.tenant,
    )


def _time(value: datetime | str) -> datetime:
    # Statements that also run on callers' connections answer in text, which no setting of a session changes.
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def _time_or_none(value: datetime | str | None) -> datetime | None:
    return None if value is None else _time(value)


def as_uuid(value: object) -> UUID:
    """A plain UUID: asyncpg has its own subclass, which is no standard type to hand to users."""
    return value if type(value) is UUID else UUID(str(value))


def id_in(row: Row) -> UUID:
    """The id of a row to look something up by: of whichever kind the driver gives, since all kinds are equal."""
    value = row["id"]
    return value if isinstance(value, UUID) else UUID(str(value))
