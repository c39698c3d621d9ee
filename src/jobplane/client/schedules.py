"""The operations on schedules, as jobplane.client.ops has them for jobs and queues."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict, cast
from uuid import UUID

from jobplane.client.info import ScheduleChange, ScheduleInfo
from jobplane.client.inserts import insert
from jobplane.client.steps import Query, Steps
from jobplane.cron import parse_cron
from jobplane.errors import InvalidInputError, ScheduleNotFoundError
from jobplane.ids import new_job_id
from jobplane.job import EnqueueJobResult, NewJob
from jobplane.limits import check_schedule
from jobplane.payload import decode_payload
from jobplane.schedule import Missed, NewSchedule
from jobplane.store.rows import Row, as_uuid


class ScheduleRow(TypedDict):
    """The columns of schedule/list."""

    name: str
    cron: str
    timezone: str
    type: str
    payload: str
    queue: str
    priority: int
    max_attempts: int
    unique_key: str | None
    tags: list[str] | None
    retry_policy: str | None
    missed: str
    missed_cap: int
    paused_at: datetime | None
    created_at: datetime
    decided_to: datetime
    last_tick: datetime | None
    last_job_id: UUID | None
    now: datetime


def put_schedule(wish: NewSchedule) -> Steps[ScheduleChange]:
    """Make a schedule, or bring the one of its name to this."""
    job = wish.job
    rows = yield Query(
        "schedule/put",
        {
            "name": wish.name,
            "cron": wish.cron,
            "timezone": wish.timezone,
            "type": job.type,
            "payload": job.payload,
            "queue": job.queue,
            "priority": job.priority,
            "max_attempts": job.max_attempts,
            "unique_key": job.unique_key,
            "tags": None if job.tags is None else list(job.tags),
            "retry_policy": job.retry_policy,
            "missed": wish.missed.value,
            "missed_cap": wish.missed_cap,
        },
        once=True,
    )
    if not rows:
        return ScheduleChange.UNCHANGED
    return ScheduleChange.CREATED if rows[0]["revision"] == 1 else ScheduleChange.CHANGED


def list_schedules() -> Steps[list[ScheduleInfo]]:
    """All schedules, by name."""
    rows = yield Query("schedule/list", {"name": None})
    return [_info_of(row) for row in rows]


def pause_schedule(name: str) -> Steps[None]:
    """Make no further jobs of it."""
    _found((yield Query("schedule/pause", {"name": check_schedule(name)}, once=True)), name)


def resume_schedule(name: str) -> Steps[None]:
    """Make its jobs again, from now on."""
    _found((yield Query("schedule/resume", {"name": check_schedule(name)}, once=True)), name)


def delete_schedule(name: str) -> Steps[None]:
    """Forget it; its jobs stay."""
    _found((yield Query("schedule/delete", {"name": check_schedule(name)}, once=True)), name)


def run_schedule(name: str) -> Steps[tuple[EnqueueJobResult, str]]:
    """Make one job of it now, which is no tick; answers with its queue, to be woken."""
    rows = yield Query("schedule/list", {"name": check_schedule(name)})
    _found(rows, name)
    row = cast("ScheduleRow", rows[0])
    job = NewJob(
        id=new_job_id(),
        type=row["type"],
        payload=row["payload"],
        queue=row["queue"],
        priority=row["priority"],
        max_attempts=row["max_attempts"],
        unique_key=row["unique_key"],
        tags=(f"schedule:{row['name']}", *(row["tags"] or ())),
        retry_policy=row["retry_policy"],
    )
    (result,) = yield from insert([job])
    return result, job.queue


def _found(rows: Sequence[Row], name: str) -> None:
    if not rows:
        raise ScheduleNotFoundError(
            f"there is no schedule {name}: jobplane schedules list shows those there are"
        )


def _info_of(row: Row) -> ScheduleInfo:
    found = cast("ScheduleRow", row)
    return ScheduleInfo(
        name=found["name"],
        cron=found["cron"],
        timezone=found["timezone"],
        type=found["type"],
        payload=decode_payload(found["payload"]),
        queue=found["queue"],
        priority=found["priority"],
        max_attempts=found["max_attempts"],
        unique_key=found["unique_key"],
        tags=tuple(found["tags"] or ()),
        missed=Missed(found["missed"]),
        missed_cap=found["missed_cap"],
        paused_at=found["paused_at"],
        created_at=found["created_at"],
        last_tick=found["last_tick"],
        last_job_id=None if found["last_job_id"] is None else as_uuid(found["last_job_id"]),
        next_tick=_next_tick(found),
    )


def _next_tick(row: ScheduleRow) -> datetime | None:
    if row["paused_at"] is not None:
        return None
    try:
        return parse_cron(row["cron"], row["timezone"], stored=True).next(max(row["now"], row["decided_to"]))
    except InvalidInputError:
        return None  # its time zone is unknown on this machine
