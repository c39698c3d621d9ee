"""What `jobplane verify` found: which promises it could look at and which not, what is wrong, and how to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jobplane.history.check import Examination
from jobplane.history.violations import Violation


@dataclass(frozen=True, slots=True)
class Scope:
    """Some promises, and what was looked at, or why it could not be."""

    promises: tuple[str, ...]
    says: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was read of one database, and the finding."""

    schema: str
    since: datetime | None
    """From when on transitions were read; None where no history is kept."""
    transitions: int
    examination: Examination

    @property
    def violations(self) -> list[Violation]:
        """Everything that is wrong."""
        return self.examination.violations

    @property
    def checked(self) -> list[Scope]:
        """What was looked at."""
        found = [_ROWS]
        if self.since is not None:
            found.append(_TRANSITIONS)
            if self.examination.history.whole:
                found.append(_BALANCE)
        return found

    @property
    def not_checked(self) -> list[Scope]:
        """What could not be looked at, and why."""
        if self.since is None:
            kept = "no history is kept: jobplane history on keeps it from then on"
            return [Scope(_TRANSITIONS.promises + _BALANCE.promises, kept), *_NEVER]
        if not self.examination.history.whole:
            return [Scope(_BALANCE.promises, "the history does not reach back to the first job"), *_NEVER]
        return list(_NEVER)


_ROWS: Final = Scope(
    ("I5", "I6", "I7", "I11", "I15"),
    "each row by itself: no impossible state, no attempt beyond the limit, no lease that expired long ago, no unique "
    "key that two unfinished jobs have",
)
_TRANSITIONS: Final = Scope(
    ("I1", "I5", "I6", "I8", "I10", "I11", "I12", "I13", "I15"),
    "each transition: the fence, who wrote, attempts, steals, legal changes without a gap, cancellations, due times, "
    "unique keys; and that it led to the row that is there",
)
_BALANCE: Final = Scope(("I20",), "the jobs that were enqueued are those that are there or were pruned")
_NEVER: Final = (
    Scope(("I1", "I2"), "what callers were told: only their own journals know"),
    Scope(("I9",), "what handlers did: only their own journals know"),
    Scope(("I4",), "that every job comes to its end: the queue is at work"),
    Scope(("I14", "I16", "I17"), "order, limits and schedules: the fault suite checks them"),
)

ADVICE: Final[Mapping[str, str]] = {
    "I1": "see who deleted it: only jobplane's pruning may, and only after the retention",
    "I4": "start workers that serve the queue and know the type",
    "I5": "look for writers that bypass jobplane's statements; if there are none, please report it with the transitions",
    "I6": "look for writers that change attempts or max_attempts; grant more with jobplane jobs retry --extra-attempts",
    "I7": "see that workers live (jobplane workers list): any one of them takes back expired leases",
    "I8": "look for writers that change leases, and for a server clock that was set back",
    "I10": "look for writers that change the status of ended jobs: jobplane jobs retry is the way",
    "I11": "look for writers that change rows by hand, or with triggers off: select verb, actor, at from job_events "
    "where job_id is the job's. A running job without a lease waits for ever: once you know that it does not run, set "
    "its status to pending in SQL",
    "I12": "please report it with the transitions",
    "I13": "please report it with the transitions",
    "I15": "see whether the unique index idx_jobs_unique_key is there and valid: jobplane migrate up builds it",
    "I20": "look for jobs that were written or deleted with triggers off (COPY with session_replication_role, TRUNCATE)",
}
"""What to do next, by promise."""
