"""Outcomes as rows of job/finish. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from jobplane.failure import ErrorReport
from jobplane.job import JobStatus
from jobplane.outcome import Cancelled, Completed, Failed, Outcome, Released, Rescheduled, Snoozed


@dataclass(frozen=True, slots=True)
class Verdict:
    """One row of job/finish."""

    status: JobStatus
    delay: float | None = None
    given_back: int = 0
    result: str | None = None
    error: ErrorReport | None = None
    reason: str | None = None


def verdict_of(outcome: Outcome) -> Verdict:
    """What job/finish writes for an outcome. Raises TypeError for Lost, of which there is nothing to write."""
    match outcome:
        case Completed(result=result, not_stored=error):
            return Verdict(JobStatus.COMPLETED, result=result, error=error)
        case Failed(error=error, reason=reason):
            return Verdict(JobStatus.FAILED, error=error, reason=reason)
        case Rescheduled(error=error, delay=delay, reason=reason):
            return Verdict(JobStatus.PENDING, delay.total_seconds(), error=error, reason=reason)
        case Snoozed(delay=delay):
            return Verdict(JobStatus.PENDING, delay.total_seconds(), given_back=1)
        case Cancelled(error=error):
            return Verdict(JobStatus.CANCELLED, error=error, reason="cancelled")
        case Released(error=None):
            return Verdict(JobStatus.PENDING, given_back=1)
        case Released(error=error, delay=delay):
            # An attempt that began is spent: no handler is called more often than max_attempts says.
            seconds = None if delay is None else delay.total_seconds()
            return Verdict(JobStatus.PENDING, seconds, error=error, reason="interrupted")
        case _:
            raise TypeError(f"{outcome!r} is nothing to report")
