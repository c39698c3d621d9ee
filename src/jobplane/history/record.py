"""The history of a run: what clients were told, what handlers did, and what the database says became of each job.

Three sources, merged by job id, none of which has to be believed alone: the journals of clients and of handlers are
kept outside of the database, and the transitions are kept by it (job_events).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
    """enqueue, retry or cancel; others are allowed, and say nothing here."""
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
    ended: bool | None = None
    """Whether completed_at is set; None where that was not read."""
    adopted: bool = False
    """Made before jobplane took the table over: other software may have left it as no transition of ours does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """How the workers of the run were set: the bounds of recovery follow from it."""

    lease: timedelta
    heartbeat_interval: timedelta
    sweep_interval: timedelta
    poll_interval: timedelta
    away: timedelta = timedelta(0)
    """The longest time for which the database, or all workers at once, were away: nobody can recover then."""

    @property
    def recovery(self) -> timedelta:
        """The longest that a job of a dead worker may wait for its next claim, a second of slack included (I7)."""
        return self.lease + self.sweep_interval + self.poll_interval + self.away + timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """One tick of a schedule that was enqueued."""

    schedule: str
    tick: datetime
    """The time that the schedule names, whenever it was enqueued."""
    job_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Everything that is known of a run.

    Args:
        transitions: of each job in the order of `rev`; jobs may come mixed.
        calls: empty where no client kept a journal: then nothing can be said about acknowledged jobs.
        executions: empty where no handler kept one.
        rows: all jobs at the end.
        now: the database's time when the rows were read.
        profile: None where the workers' settings are not known: then no bound on time is checked. To give one is to
            say that a living worker that knows the job's type had a free slot whenever a job was rescued: the
            transitions cannot tell, since idle slots leave no trace. Where the load may fill all slots, give none
            and read the recoveries among the figures.
        whole: whether the transitions were kept from before the first job on. Otherwise a job may begin with any
            transition, and counts are not compared.
        unbroken: whether they were kept without a break from the first one here until the rows were read: then the
            last transition of a job must agree with its row. `whole` says so too.
        settled: whether faults are over and the queue was given time to come to rest: then unfinished due jobs are
            violations too.
        limits: how many jobs of a queue may run at once, for queues that have such a limit.
        ordered_queues: queues whose order of claims is checked (I14). Only for the caller to say, since the history
            does not show row locks: that nobody but workers locks jobs there, enqueues in transactions that stay
            open for long, pauses it, or limits how many may run.
        ticks: what schedules enqueued.
        expected_ticks: by schedule, the ticks that must have been enqueued, from an oracle of its own; schedules
            that are not named here are only checked for duplicates.
    """

    transitions: tuple[Transition, ...]
    rows: tuple[Row, ...]
    now: datetime
    calls: tuple[Call, ...] = ()
    executions: tuple[Execution, ...] = ()
    profile: Profile | None = None
    whole: bool = False
    settled: bool = False
    unbroken: bool = False
    limits: Mapping[str, int] = field(default_factory=dict)
    ordered_queues: frozenset[str] = frozenset()
    ticks: tuple[Tick, ...] = ()
    expected_ticks: Mapping[str, frozenset[datetime]] = field(default_factory=dict)
