"""What a handler may decide, and what the executor made of it.

A handler returns a value (stored as the job's result), returns one of the decisions below, or raises:
raising is failure, and the retry policy says what happens next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, TypeAlias

from jobplane.failure import ErrorReport


@dataclass(frozen=True, slots=True)
class Snooze:
    """Run this job again after `delay`, without spending an attempt."""

    delay: timedelta
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Cancel:
    """End this job as cancelled: it is no longer wanted."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Fail:
    """End this job as failed for good, whatever attempts are left."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Count this attempt as failed and run again after `delay`, if attempts are left."""

    delay: timedelta
    reason: str = ""


NOT_STORED: Final = "result not stored"
"""What last_error of a completed job begins with when its result could not be kept."""
Decision: TypeAlias = Snooze | Cancel | Fail | Retry


# What the executor tells the reporter. One class for each verb that ends a claim.


@dataclass(frozen=True, slots=True)
class Completed:
    """The handler returned; `result` is JSON text, or None when it returned nothing.

    `not_stored` says why what it returned could not be stored: the work is done all the same.
    """

    result: str | None = field(default=None, repr=False)
    not_stored: ErrorReport | None = None

    @classmethod
    def without_result(cls, reason: str) -> Completed:
        """Of a handler whose result cannot be stored; `reason` ends in last_error: it quotes no value."""
        return cls(not_stored=ErrorReport(NOT_STORED, reason))


@dataclass(frozen=True, slots=True)
class Failed:
    """No further attempt will follow."""

    error: ErrorReport
    reason: str = "failed"


@dataclass(frozen=True, slots=True)
class Rescheduled:
    """This attempt failed; another follows after `delay`."""

    error: ErrorReport
    delay: timedelta
    reason: str = "failed"


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Not now: again after `delay`, the attempt is given back."""

    delay: timedelta


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Ended on request."""

    error: ErrorReport


@dataclass(frozen=True, slots=True)
class Released:
    """Handed back unfinished, at once claimable by others.

    `error` is None for a job whose handler never began: only then the attempt is given back. `delay` is for one whose
    handler still goes on in a thread.
    """

    error: ErrorReport | None = None
    delay: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is gone: another worker may hold the job, so there is nothing to report."""


Outcome: TypeAlias = Completed | Failed | Rescheduled | Snoozed | Cancelled | Released | Lost
