"""The history of a run: what clients were told, what handlers did, and what the database says became of each job.

Three sources, merged by job id, none of which has to be believed alone: the journals of clients and of handlers are
kept outside of the database, and the transitions are kept by it (job_events).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from jobplane.job import JobStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """One row of job_events: a change of one job."""

    job_id: UUID
    rev: int
    """Counts the changes of this job from 1, without a gap."""
    verb: str
    """As in docs/design/state_machine.md; other for a writer that is not jobplane, delete for a foreign DELETE."""
    before: JobStatus | None
    """None when the job was made."""
    after: JobStatus | None
    """None when it was deleted."""
    epoch: int
    """The fence after the change."""
    attempts: int
    max_attempts: int
    type: str
    queue: str
    priority: int
    unique_key: str | None
    scheduled_at: datetime
    lease_was: datetime | None
    lease_is: datetime | None
    worker_id: str | None
    """Whose claim it is."""
    actor: str
    """The application_name of the connection that wrote: `jobplane worker <pid>-<token>` for a worker."""
    at: datetime
    """When, by the clock of the database."""


class CallOutcome(StrEnum):
    """What a caller knows about a call (the words are Jepsen's)."""

    OK = "ok"
    """Acknowledged."""
    FAIL = "fail"
    """Refused: it certainly did not happen."""
    INFO = "info"
    """No answer came, or one that leaves it open: it may have happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a client, from its journal."""

    operation: str
    """enqueue, retry or cancel."""
    outcome: CallOutcome
    job_id: UUID | None
    """The job that was answered, or that was asked about; None where there was no answer."""
    key: str | None = None
    """The idempotency key, where one was given: calls with one key are one wish."""
    begun_at: float
    """Unix time in seconds, by the caller's clock."""
    ended_at: float | None = None


class ExecutionEvent(StrEnum):
    """What a handler wrote down."""

    START = "start"
    """Its first line ran."""
    EFFECT = "effect"
    """It did something that others can see."""
    END = "end"
    """Its last line ran."""
    CANCELLED = "cancelled"
    """It was told to stop, and stopped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """One line of a handler's journal."""

    event: ExecutionEvent
    job_id: UUID
    epoch: int
    pid: int
    at: float
    """Unix time in seconds, by the worker's clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A job as it stood at the end."""

    job_id: UUID
    status: JobStatus
    attempts: int
    max_attempts: int
    epoch: int
    queue: str
    unique_key: str | None
    scheduled_at: datetime
    lease_expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How the workers of the run were set: the bounds of recovery follow from it."""

    lease: timedelta
    heartbeat_interval: timedelta
    sweep_interval: timedelta
    poll_interval: timedelta

    @property
    def recovery(self) -> timedelta:
        """The longest that a job of a dead worker may wait for its next claim, a second of slack included (I7)."""
        return self.lease + self.sweep_interval + self.poll_interval + timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that is known of a run.

    Args:
        transitions: of each job in the order of `rev`; jobs may come mixed.
        calls: empty where no client kept a journal: then nothing can be said about acknowledged jobs.
        executions: empty where no handler kept one.
        rows: all jobs at the end.
        now: the database's time when the rows were read.
        profile: None where the workers' settings are not known: then no bound on time is checked.
        whole: whether the transitions were kept from before the first job on. Otherwise a job may begin with any
            transition, and counts are not compared.
        settled: whether faults are over and the queue was given time to come to rest: then unfinished due jobs are
            violations too.
    """

    transitions: tuple[Transition, ...]
    rows: tuple[Row, ...]
    now: datetime
    calls: tuple[Call, ...] = ()
    executions: tuple[Execution, ...] = ()
    profile: Profile | None = None
    whole: bool = False
    settled: bool = False
