"""The words of the queue: a job, its statuses, and which status may follow which.

This module imports nothing of jobplane's; every other module speaks its words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct

JSONValue: TypeAlias = "bool | int | float | str | Sequence[JSONValue] | Mapping[str, JSONValue] | None"
JobPayload: TypeAlias = Mapping[str, JSONValue]


class JobStatus(StrEnum):
    """The visible status of a job. "Scheduled" and "retrying" are pending jobs, told apart by columns."""

    PENDING = "pending"
    """Waits to be claimed: due when scheduled_at has passed."""
    RUNNING = "running"
    """Claimed by a worker that holds a lease; only the holder of the current epoch may change it."""
    COMPLETED = "completed"
    """The handler returned. Terminal."""
    FAILED = "failed"
    """No attempt is left, or the handler failed for good. Terminal until an explicit retry."""
    CANCELLED = "cancelled"
    """Ended on request, by an operator or by the handler itself. Terminal until an explicit retry."""


TERMINAL: Final = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED})

TRANSITIONS: Final[Mapping[str, tuple[frozenset[JobStatus], frozenset[JobStatus]]]] = {
    # verb: (from, to). The one truth of the state machine; docs/design/state_machine.md draws it.
    "enqueue": (frozenset(), frozenset({JobStatus.PENDING})),
    "claim": (frozenset({JobStatus.PENDING}), frozenset({JobStatus.RUNNING})),
    "complete": (frozenset({JobStatus.RUNNING}), frozenset({JobStatus.COMPLETED})),
    "fail": (frozenset({JobStatus.RUNNING}), frozenset({JobStatus.FAILED})),
    "reschedule": (frozenset({JobStatus.RUNNING}), frozenset({JobStatus.PENDING})),
    "snooze": (frozenset({JobStatus.RUNNING}), frozenset({JobStatus.PENDING})),
    "release": (frozenset({JobStatus.RUNNING}), frozenset({JobStatus.PENDING, JobStatus.FAILED})),
    "rescue": (
        frozenset({JobStatus.RUNNING}),
        frozenset({JobStatus.PENDING, JobStatus.FAILED, JobStatus.CANCELLED}),
    ),
    "cancel": (frozenset({JobStatus.PENDING, JobStatus.RUNNING}), frozenset({JobStatus.CANCELLED})),
    "retry": (TERMINAL, frozenset({JobStatus.PENDING})),
}


def may_follow(before: JobStatus, after: JobStatus) -> bool:
    """Whether some verb leads from `before` to `after`."""
    return any(before in sources and after in targets for sources, targets in TRANSITIONS.values())


class JobType(StrEnum):
    """The job types of the control plane. Any other valid string is a job type too."""

    PROVISION_PROJECT = "provision_project"
    ROTATE_KEY = "rotate_key"
    DELIVER_WEBHOOK = "deliver_webhook"
    EXPORT_BACKUP = "export_backup"
    CHECK_USAGE_LIMITS = "check_usage_limits"
    AUTO_SUSPEND = "auto_suspend"


class NewJob(Struct, frozen=True, gc=False):
    """A wish for a job: validated and encoded, not yet written. Made by `new_job` or `task.new`.

    A struct, as Claim is: made by the hundred thousand, and ten times as fast to make as a frozen dataclass.
    """

    id: UUID
    type: str
    payload: str
    """A JSON object as text."""
    queue: str = "default"
    priority: int = 0
    max_attempts: int = 3
    delay: timedelta = timedelta(0)
    """Added to the database's clock (or to scheduled_at, when that is given)."""
    scheduled_at: datetime | None = None
    unique_key: str | None = None
    tags: tuple[str, ...] | None = None
    retry_policy: str | None = None
    """A retry policy for this job alone, as JSON text (see jobplane.retry)."""
    tenant: str | None = None
    idempotency_key: str | None = None
    """What the id was made from, if it was; not stored."""
    fresh: bool = False
    """Whether the id was made for this job, and chosen by nobody; not stored."""
    chosen: frozenset[str] | None = None
    """The options that the call or its task chose, which those of the client do not replace; None: all. Not stored."""

    @property
    def is_plain(self) -> bool:
        """Whether it is fresh, due at once, and has nothing that few jobs have."""
        return (
            self.fresh
            and not self.delay
            and self.scheduled_at is None
            and self.unique_key is None
            and self.tags is None
            and self.retry_policy is None
            and self.tenant is None
        )

    def __repr__(self) -> str:
        return f"NewJob(id={self.id!r}, type={self.type!r}, queue={self.queue!r})"  # and no payload


@dataclass(frozen=True, slots=True)
class EnqueueJobResult:
    """What enqueueing answered.

    `existing` is true when no job was made because one with the same id, idempotency key or unique key
    was there already; the other fields then describe that job.
    """

    id: UUID
    type: str
    status: JobStatus
    scheduled_at: datetime
    created_at: datetime
    existing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A row of control_plane.jobs as it was when it was read. All times are timezone-aware."""

    id: UUID
    type: str
    payload: JobPayload = field(repr=False)
    status: JobStatus
    attempts: int
    max_attempts: int
    last_error: str | None
    scheduled_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    created_at: datetime
    queue: str
    priority: int
    lease_epoch: int
    """The fencing token to hand to other systems: 0 before the first claim, and one more with each claim after that.

    No two claims of one id ever have the same, also where the job was deleted and its id came back. So the first claim
    need not have 1: it counts on from the highest epoch of any job that was deleted.
    """
    lease_expires_at: datetime | None
    worker_id: str | None
    unique_key: str | None
    tags: tuple[str, ...]
    result: JSONValue = field(default=None, repr=False)
    progress: JSONValue = None
    cancel_requested_at: datetime | None = None
    tenant: str | None = None

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended (until an explicit retry)."""
        return self.status in TERMINAL


def tags_of(column: Iterable[object] | None) -> tuple[str, ...]:
    """The tags in a row's array, if it has one. A foreign producer may have put NULLs into it, or arrays of arrays."""
    tags: list[str] = []
    for value in column or ():
        if isinstance(value, str):
            tags.append(value)
        elif isinstance(value, Iterable):
            tags.extend(tags_of(value))
    return tuple(tags)


class Claim(Struct, gc=False):
    """A job as a worker holds it: the row at the moment of the claim, its JSON not yet decoded.

    The fields are in the order of the statements that claim: a row becomes a claim as it comes. Nothing that it holds
    refers back to it, so the collector of cycles need not visit the thousands that wait: that is a tenth of a drain.
    """

    id: UUID
    type: str
    payload: str
    attempt: int
    max_attempts: int
    epoch: int
    queue: str
    priority: int
    scheduled_at: datetime
    created_at: datetime
    started_at: datetime
    unique_key: str | None
    tags: Sequence[object] | None
    """As the column holds them; see tags_of."""
    progress: str | None
    retry_policy: str | None
    crashes: int = 0
    """How many claims of it ended with their worker, in the last day."""
    tenant: str | None = None
    attempts_at_retry: int | None = None
    """Attempts that were counted before the last explicit retry; None: there was none."""
    lease_ends: float = 0.0
    """By this process's monotonic clock (seconds): from here on the job is no longer ours."""

    def __repr__(self) -> str:
        return (  # and no payload
            f"Claim(id={self.id!r}, type={self.type!r}, queue={self.queue!r}, epoch={self.epoch}, "
            f"attempt={self.attempt} of {self.max_attempts})"
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that did not complete: what job_attempts keeps of it."""

    job_id: UUID
    epoch: int
    attempt: int
    outcome: str
    """failed, timeout, crashed, interrupted or cancelled."""
    error_type: str | None
    message: str | None
    frames: tuple[str, ...]
    worker_id: str | None
    started_at: datetime | None
    ended_at: datetime
