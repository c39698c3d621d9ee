"""What log records say of jobs and outcomes."""

from __future__ import annotations

from datetime import timedelta

from jobplane.failure import ErrorReport
from jobplane.job import Claim
from jobplane.outcome import (
    Cancelled,
    Completed,
    Failed,
    Lost,
    Outcome,
    Released,
    Rescheduled,
    Snoozed,
)


def about(claim: Claim, event: str) -> dict[str, str | int | float]:
    """The fields of a log record about a job."""
    return {"event": event, "job_id": str(claim.id), "job_type": claim.type, "attempt": claim.attempt}


def summary_of(outcome: Outcome) -> tuple[str, timedelta | None, ErrorReport | None]:
    """The outcome in one word that stays the same, when the job runs again, and what went wrong."""
    match outcome:
        case Completed():
            return "completed", None, None
        case Failed(error=error):
            return "failed", None, error
        case Rescheduled(error=error, delay=delay):
            return "rescheduled", delay, error
        case Snoozed(delay=delay):
            return "snoozed", delay, None
        case Cancelled():
            return "cancelled", None, None
        case Released():
            return "released", None, None
        case Lost():
            return "lost", None, None
