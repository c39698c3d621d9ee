"""Everything observable, as values. Code emits facts; whoever subscribes writes log lines, metrics or tests.

| event              | when                                                         |
|--------------------|--------------------------------------------------------------|
| WorkerStarted      | services run, queues are subscribed                          |
| WorkerStopping     | a signal or stop() was seen; nothing further is claimed      |
| WorkerStopped      | all handlers ended or were released, connections are closed  |
| JobsClaimed        | one claim statement returned jobs                            |
| JobStarted         | a handler is about to be called                              |
| JobFinished        | an attempt ended, whatever the outcome; not yet written      |
| ResultNotStored    | a job completed, but what it returned cannot be kept         |
| JobsReported       | outcomes are durably written                                 |
| JobLost            | the lease was lost: another worker may run the job           |
| JobSetApart        | it may kill its worker: it waits here until it can run alone |
| RetryPolicyFailed  | a policy raised or gave no delay: the default policy decided |
| JobsRescued        | expired leases were taken back                               |
| JobsPruned         | old finished jobs were deleted                               |
| ScheduleTicked     | a tick of a schedule was made, and its job with it           |
| LoopBlocked        | a handler kept the event loop from running                   |
| ListeningPaused    | too many notifications: the worker polls instead for a while |
| ListeningResumed   | notifications are bearable again, and wake the worker        |
| ServiceFailed      | a service met an error and will try again                    |
| DatabaseRecovered  | a service works again after errors                           |
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar, cast
from uuid import UUID

from jobplane.job import Claim
from jobplane.outcome import Outcome

_logger = logging.getLogger("jobplane.events")


@dataclass(frozen=True, slots=True)
class Event:
    """The base of all events."""


@dataclass(frozen=True, slots=True)
class WorkerStarted(Event):
    worker_id: str
    queues: dict[str, int]
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class WorkerStopping(Event):
    worker_id: str
    running: int
    grace: float
    """Seconds that running jobs may take to finish."""


@dataclass(frozen=True, slots=True)
class WorkerStopped(Event):
    worker_id: str
    released: int


@dataclass(frozen=True, slots=True)
class JobsClaimed(Event):
    queue: str
    claims: Sequence[Claim]


@dataclass(frozen=True, slots=True)
class JobStarted(Event):
    claim: Claim


@dataclass(frozen=True, slots=True)
class JobFinished(Event):
    claim: Claim
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class ResultNotStored(Event):
    claim: Claim
    reason: str
    """The rule that the result breaks; never the result."""


@dataclass(frozen=True, slots=True)
class JobsReported(Event):
    ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class JobLost(Event):
    claim: Claim
    reason: str


@dataclass(frozen=True, slots=True)
class JobSetApart(Event):
    claim: Claim


@dataclass(frozen=True, slots=True)
class RetryPolicyFailed(Event):
    claim: Claim
    error: BaseException
    """What the policy raised, or InvalidInputError for an answer that is no delay."""


@dataclass(frozen=True, slots=True)
class JobsRescued(Event):
    ids: Sequence[UUID]


@dataclass(frozen=True, slots=True)
class JobsPruned(Event):
    count: int


@dataclass(frozen=True, slots=True)
class ScheduleTicked(Event):
    schedule: str
    tick: datetime
    job_id: UUID | None
    """None: an unfinished job has the schedule's unique key."""


@dataclass(frozen=True, slots=True)
class LoopBlocked(Event):
    seconds: float
    types: Sequence[str]


@dataclass(frozen=True, slots=True)
class ListeningPaused(Event):
    words_per_second: int
    """How many notifications a worker takes at most."""
    poll_interval: float
    """Seconds between two looks for jobs meanwhile, at most."""


@dataclass(frozen=True, slots=True)
class ListeningResumed(Event):
    seconds: float
    """How long notifications were not heard."""


@dataclass(frozen=True, slots=True)
class ServiceFailed(Event):
    service: str
    error: BaseException
    retry_in: float
    """Seconds until the next try."""


@dataclass(frozen=True, slots=True)
class DatabaseRecovered(Event):
    service: str


E = TypeVar("E", bound=Event)


class Events:
    """Subscriptions of one worker. Emitting an event that nobody wants costs one lookup."""

    def __init__(self) -> None:
        self._subscribers: dict[type[Event], list[Callable[[Event], None]]] = {}

    def subscribe(self, kind: type[E], callback: Callable[[E], None]) -> None:
        """Call `callback` for each event of exactly this class. It must be quick and may run in any thread."""
        self._subscribers.setdefault(kind, []).append(cast("Callable[[Event], None]", callback))

    def wants(self, kind: type[Event]) -> bool:
        """Whether anyone subscribed: ask before building a costly event on the hot path."""
        return kind in self._subscribers

    def emit(self, event: Event) -> None:
        """Tell the subscribers. One that raises is logged and does not disturb the worker."""
        for callback in self._subscribers.get(type(event), ()):
            try:
                callback(event)
            except Exception:
                _logger.exception("a subscriber of %s failed", type(event).__name__)
