"""What the clients answer about queues, schedules, workers and pages of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from uuid import UUID

from jobplane.job import Job, JobPayload
from jobplane.schedule import Missed


class CancelResult(Enum):
    """What became of a request to cancel."""

    CANCELLED = "cancelled"
    """The job will never start, or had been cancelled before."""
    REQUESTED = "requested"
    """It runs: its worker tells the handler to stop."""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """One queue, as of now."""

    name: str
    due: int
    later: int
    """Waiting jobs that are not due yet."""
    running: int
    workers: int
    slots: int
    """How many jobs its workers run at once."""
    oldest_due_at: datetime | None
    paused_at: datetime | None
    max_running: int | None
    """How many of its jobs may run at once, everywhere; None: as many as its workers have slots."""


class ScheduleChange(Enum):
    """What create_schedule did."""

    CREATED = "created"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleInfo:
    """One schedule, as of now."""

    name: str
    cron: str
    timezone: str
    type: str
    payload: JobPayload = field(repr=False)
    queue: str
    priority: int
    max_attempts: int
    unique_key: str | None
    tags: tuple[str, ...]
    missed: Missed
    missed_cap: int
    paused_at: datetime | None
    created_at: datetime
    last_tick: datetime | None
    """The newest tick that was made."""
    last_job_id: UUID | None
    """Its job; there is none of this id when an unfinished job had the unique key."""
    next_tick: datetime | None
    """None while it is paused."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """One worker, as of its last heartbeat."""

    id: str
    host: str
    pid: int
    version: str
    queues: Mapping[str, int]
    types: tuple[str, ...]
    running: int
    started_at: datetime
    heartbeat_at: datetime
    silent_for: float
    """Seconds since the last heartbeat."""


@dataclass(frozen=True, slots=True)
class Unclaimable:
    """Due jobs of one type that no living worker can run."""

    queue: str
    type: str
    jobs: int
    oldest_due_at: datetime


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and the cursor of the next page (None on the last)."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
