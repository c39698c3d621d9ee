"""What a handler may ask about the job that it runs. Injected where a handler's first parameter asks for it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from uuid import UUID

from jobplane.errors import InvalidInputError, JobplaneError
from jobplane.job import Claim, Job, JobStatus, JSONValue, tags_of
from jobplane.payload import decode_json, decode_payload, encode_bounded

MAX_PROGRESS_BYTES: Final = 4096
_logger = logging.getLogger("jobplane.job")

current_job_id: ContextVar[UUID | None] = ContextVar("jobplane_current_job_id", default=None)
"""The id of the job that the calling code runs under; None outside of handlers. For log filters."""


class JobCancelledError(JobplaneError):
    """Raised by JobContext.raise_if_cancelled in a handler that was told to stop."""


@dataclass(slots=True)
class JobContext:
    """One attempt, seen from inside its handler. Safe to use from the handler's thread.

    Attributes:
        attempt: 1 for the first try.
        max_attempts: the last attempt's number.
        epoch: the fencing token, which grows with each claim of an id and never repeats; together with job.id the
            idempotency key to hand to other systems.
    """

    _claim: Claim
    _timeout: float | None
    _report: Callable[[Claim, str], None]
    _started: float = field(default_factory=time.monotonic)
    _stop: threading.Event = field(default_factory=threading.Event)
    _logger: logging.LoggerAdapter[logging.Logger] | None = None
    _job: Job | None = None

    @property
    def job(self) -> Job:
        """The job as it was claimed."""
        if self._job is None:
            self._job = job_of(self._claim)
        return self._job

    @property
    def attempt(self) -> int:
        return self._claim.attempt

    @property
    def max_attempts(self) -> int:
        return self._claim.max_attempts

    @property
    def epoch(self) -> int:
        return self._claim.epoch

    @property
    def tenant(self) -> str | None:
        """Whose job it is; None where nobody said."""
        return self._claim.tenant

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry job_id, job_type and attempt."""
        if self._logger is None:
            claim = self._claim
            extra = {"job_id": str(claim.id), "job_type": claim.type, "attempt": claim.attempt}
            self._logger = logging.LoggerAdapter(_logger, extra)
        return self._logger

    @property
    def deadline(self) -> timedelta | None:
        """The time left until this attempt is timed out; None without a timeout."""
        if self._timeout is None:
            return None
        return timedelta(seconds=self._started + self._timeout - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the handler was told to stop. Synchronous handlers look here in their loops."""
        return self._stop.is_set()

    def raise_if_cancelled(self) -> None:
        """Raises JobCancelledError when the handler was told to stop."""
        if self._stop.is_set():
            raise JobCancelledError("the job was cancelled, timed out, or its worker is stopping")

    def wait_cancelled(self, timeout: float) -> bool:
        """Blocks a synchronous handler for at most `timeout` seconds; true once it was told to stop."""
        return self._stop.wait(timeout)

    def progress(self, fraction: float, message: str = "", **details: JSONValue) -> None:
        """Report how far the job is: shown to whoever watches, and kept with the row.

        Returns at once; the latest report is written within half a second. It never fails the job for
        database reasons.

        Args:
            fraction: 0.0 to 1.0.
            message: a short text for people.
            details: further JSON values; all together at most 4 KiB.

        Raises:
            InvalidInputError: the fraction is out of range or the details are too large.
        """
        if not 0.0 <= fraction <= 1.0:
            raise InvalidInputError("fraction", fraction, "must be a number from 0.0 to 1.0")
        report = {"fraction": round(float(fraction), 4), "message": message, **details}
        self._report(self._claim, encode_bounded("progress", report, MAX_PROGRESS_BYTES))

    def last_progress(self) -> JSONValue:
        """What an earlier attempt reported last; None on the first."""
        return None if self._claim.progress is None else decode_json(self._claim.progress)

    def renew_locks(self) -> None:
        """For a child that the handler forked: a lock that another thread held would never be released."""
        stop = threading.Event()
        if self._stop.is_set():
            stop.set()
        self._stop = stop

    def tell_to_stop(self) -> None:
        """For the worker: from now on `cancelled` is true."""
        self._stop.set()


def job_of(claim: Claim) -> Job:
    """The claimed row as the Job that readers know."""
    return Job(
        id=UUID(int=claim.id.int),
        type=claim.type,
        payload=decode_payload(claim.payload),
        status=JobStatus.RUNNING,
        attempts=claim.attempt,
        max_attempts=claim.max_attempts,
        last_error=None,
        scheduled_at=claim.scheduled_at,
        started_at=claim.started_at,
        completed_at=None,
        created_at=claim.created_at,
        queue=claim.queue,
        priority=claim.priority,
        lease_epoch=claim.epoch,
        lease_expires_at=None,
        worker_id=None,
        unique_key=claim.unique_key,
        tags=tags_of(claim.tags),
        progress=None if claim.progress is None else decode_json(claim.progress),
        tenant=claim.tenant,
    )
