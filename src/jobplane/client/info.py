"""What the clients answer about queues, schedules, workers and pages of jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from uuid import UUID

from jobplane.job import Job, JobPayload, JobStatus
from jobplane.schedule import Missed


class CancelResult(Enum):
    """What became of a request to cancel."""

    CANCELLED = "cancelled"
    """The job will never start, or had been cancelled before."""
    REQUESTED = "requested"
    """It runs: its worker tells the handler to stop."""


class JobCounts(dict[JobStatus, int]):
    """How many jobs have each status.

    Attributes:
        estimated: the statuses whose number is an estimate, good to about a tenth (of some hundred pages of the table). In a table of more than a few
            thousand jobs that is completed, and each of which there are more than 10,000.
    """

    def __init__(
        self, counts: Mapping[JobStatus, int], estimated: frozenset[JobStatus] = frozenset()
    ) -> None:
        super().__init__(counts)
        self.estimated = estimated


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
    estimated: bool = False
    """Whether `due` and `later` are estimates: more jobs wait than are counted one by one (about 10,000)."""


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
    estimated: bool = False
    """Whether `jobs` is an estimate and there may be older ones: more wait in this queue than are looked at."""


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first, and the cursor of the next page (None on the last).

    A page may hold fewer jobs than asked for, even none, and still have a next one: filters other than by status
    running, failed or cancelled have no index, so a page looks at no more than 20,000 jobs.
    """

    jobs: tuple[Job, ...]
    next_cursor: str | None
