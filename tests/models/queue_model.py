"""The queue in plain Python: what each verb does to the rows, and whom it refuses.

Written from docs/design/state_machine.md, not from the statements: where the two differ, one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from jobplane.outcome import Cancelled, Completed, Failed, Outcome, Released, Rescheduled, Snoozed

ENDED: Final = ("completed", "failed", "cancelled")
CRASH_LIMIT: Final = 3
"""As Store.rescue has it by default."""


@dataclass
class Row:
    """The columns of control_plane.jobs that the model speaks of."""

    id: UUID
    type: str
    queue: str
    priority: int
    max_attempts: int
    scheduled_at: datetime
    unique_key: str | None = None
    status: str = "pending"
    attempts: int = 0
    lease_epoch: int = 0
    lease_expires_at: datetime | None = None
    worker_id: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    last_error: str | None = None
    result: str | None = None
    progress: str | None = None
    isolated_epoch: int | None = None
    attempts_at_retry: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether only an explicit retry can change it."""
        return self.status in ENDED


@dataclass(frozen=True)
class Token:
    """What a worker remembers of a claim. It may be long out of date."""

    id: UUID
    epoch: int
    worker: str
    attempt: int
    max_attempts: int


@dataclass(frozen=True)
class AttemptRow:
    """A row of control_plane.job_attempts."""

    job_id: UUID
    epoch: int
    attempt: int
    outcome: str
    error_type: str | None
    message: str | None
    worker_id: str | None
    started_at: datetime | None


@dataclass(frozen=True)
class Crash:
    """When a claim ended with its worker."""

    job_id: UUID
    at: datetime


@dataclass
class QueueModel:
    """All rows, and the time."""

    now: datetime
    rows: dict[UUID, Row] = field(default_factory=dict)
    attempts: set[AttemptRow] = field(default_factory=set)
    crashes: list[Crash] = field(default_factory=list)
    paused: set[str] = field(default_factory=set)
    enqueued: int = 0
    pruned: int = 0
    spent: int = 0
    """The highest epoch of any deleted job: the first claim of a job counts on from it."""

    # -- the client ----------------------------------------------------------------------------------

    def enqueue(self, wish: Row) -> tuple[UUID, bool]:
        """The job that there is afterwards, and whether it was there before (I2, I15)."""
        if wish.id in self.rows:
            return wish.id, True
        if wish.unique_key is not None:
            for row in self.rows.values():
                if row.unique_key == wish.unique_key and not row.has_ended:
                    return row.id, True
        self.rows[wish.id] = wish
        self.enqueued += 1
        return wish.id, False

    def cancel(self, job_id: UUID) -> str:
        """What the caller is told."""
        row = self.rows.get(job_id)
        if row is None:
            return "JobNotFoundError"
        if row.has_ended:
            return "CANCELLED" if row.status == "cancelled" else "JobStateError"
        row.cancel_requested_at = row.cancel_requested_at or self.now
        if row.status == "running" and row.lease_expires_at is not None:
            return "REQUESTED"
        self._end(row, "cancelled")
        return "CANCELLED"

    def retry(self, job_id: UUID, extra: int) -> str:
        """The queue to wake, or the error."""
        row = self.rows.get(job_id)
        if row is None:
            return "JobNotFoundError"
        if not row.has_ended:
            return "JobStateError"
        if row.attempts >= row.max_attempts + extra:
            return "AttemptsExhaustedError"
        if row.unique_key is not None and self.holders(row.unique_key):
            return "UniqueKeyTakenError"
        row.status, row.scheduled_at = "pending", self.now
        row.max_attempts += extra
        row.attempts_at_retry = row.attempts
        row.completed_at = row.cancel_requested_at = None
        return row.queue

    # -- a worker ------------------------------------------------------------------------------------

    def claim(
        self, queue: str, types: Collection[str], worker: str, lease: timedelta, limit: int
    ) -> list[Token]:
        """Due jobs of known types, in order (I13, I14, I18)."""
        due = [
            row
            for row in self.rows.values()
            if (row.status, row.queue) == ("pending", queue)
            and row.type in types
            and row.scheduled_at <= self.now
            and queue not in self.paused
        ]
        due.sort(key=lambda row: (-row.priority, row.scheduled_at, row.id))
        tokens = []
        for row in due[:limit]:
            row.status, row.worker_id, row.started_at = "running", worker, self.now
            row.attempts += 1
            row.lease_epoch = (row.lease_epoch or self.spent) + 1
            row.lease_expires_at = self.now + lease
            tokens.append(Token(row.id, row.lease_epoch, worker, row.attempts, row.max_attempts))
        return tokens

    def renew(self, tokens: Iterable[Token], lease: timedelta) -> set[tuple[UUID, int, bool, bool]]:
        """(id, epoch, still ours, cancel requested) of each. A late heartbeat changes nothing (I9)."""
        reports = set()
        for token in tokens:
            row = self._held(token)
            if row is not None:
                row.lease_expires_at = self.now + lease
            wanted = row is not None and row.cancel_requested_at is not None
            reports.add((token.id, token.epoch, row is not None, wanted))
        return reports

    def report(self, token: Token, progress: str) -> None:
        """Progress, kept for the holder only."""
        row = self._held(token)
        if row is not None:
            row.progress = progress

    def finish(self, ended: Iterable[tuple[Token, Outcome]]) -> set[UUID]:
        """The ids that were still ours; the others were refused (I5)."""
        ours = set()
        for token, outcome in ended:
            row = self._held(token)
            if row is None:
                continue
            ours.add(row.id)
            attempt = row.attempts
            match outcome:
                case Completed(result=result):
                    row.result = row.result if result is None else result
                    self._end(row, "completed")
                case Failed():
                    self._end(row, "failed")
                case Cancelled():
                    self._end(row, "cancelled")
                case Rescheduled(delay=delay):
                    self._again(row, delay)
                case Snoozed(delay=delay):
                    row.attempts -= 1
                    self._again(row, delay)
                case Released(error=error):
                    row.attempts -= error is None  # an attempt that began is spent
                    self._again(row, None)
                case _:
                    raise TypeError(f"{outcome!r} is nothing to report")
            self._record(row, attempt, outcome)
        return ours

    def complete(self, tokens: Sequence[Token]) -> set[UUID]:
        """The ids that are completed under these claims, whether now or before: a lost answer is asked for again."""
        self.finish((token, Completed()) for token in tokens)
        rows = [(self.rows.get(token.id), token) for token in tokens]
        return {
            row.id
            for row, token in rows
            if row is not None and (row.status, row.lease_epoch) == ("completed", token.epoch)
        }

    # -- maintenance ---------------------------------------------------------------------------------

    def expired(self) -> set[UUID]:
        """Whom a sweep may take: running, under a lease that is over (I8)."""
        return {
            row.id
            for row in self.rows.values()
            if row.status == "running"
            and row.lease_expires_at is not None
            and row.lease_expires_at < self.now
        }

    def rescue(self, chosen: Iterable[UUID]) -> None:
        """Take jobs back from their holders; the attempt stays counted (I6), unless it is known that none began."""
        for row in [self.rows[job_id] for job_id in chosen]:
            verdict, given_back, why = self._verdict_on(row)
            row.last_error = f"lease lost: worker {row.worker_id} stopped renewing it{why}"
            self.attempts.add(
                AttemptRow(
                    row.id,
                    row.lease_epoch,
                    row.attempts,
                    "crashed",
                    "LeaseLost",
                    row.last_error,
                    row.worker_id,
                    row.started_at,
                )
            )
            self.crashes.append(Crash(row.id, self.now))
            if verdict == "pending":
                row.status, row.lease_expires_at = "pending", None
                row.attempts -= given_back
            else:
                self._end(row, verdict)

    def _verdict_on(self, row: Row) -> tuple[str, int, str]:
        # The status, the attempts given back, and the end of the message (decision 26).
        number = 1 + sum(
            crash.job_id == row.id and crash.at > self.now - timedelta(days=1) for crash in self.crashes
        )
        alone, last = row.isolated_epoch == row.lease_epoch, row.attempts >= row.max_attempts
        suspect_that_waited = last and not alone and number > 1
        if last and not suspect_that_waited:
            status, why = "failed", f" during attempt {row.attempts} of {row.max_attempts}, the last one"
        elif alone and number >= CRASH_LIMIT:
            status, why = "failed", f" while this job ran alone (crash {number} of it within a day)"
        else:
            status, why = "pending", ""
        if row.cancel_requested_at is not None:
            status = "cancelled"
        return status, int(suspect_that_waited), why

    def isolate(self, token: Token) -> bool:
        """Note that a suspect begins now, alone in its worker; whether it is still ours."""
        row = self._held(token)
        if row is not None:
            row.isolated_epoch = token.epoch
        return row is not None

    def prunable(self, keep: dict[str, timedelta]) -> set[UUID]:
        """Ended longer ago than their status is kept; a job due later than that counts from its due time."""
        return {
            row.id
            for row in self.rows.values()
            if row.completed_at is not None
            and row.completed_at < self.now - keep[row.status]
            and row.scheduled_at < self.now - min(keep.values())
        }

    def prune(self, chosen: Collection[UUID]) -> None:
        """Delete jobs, and their attempts with them."""
        for job_id in chosen:
            self.spent = max(self.spent, self.rows.pop(job_id).lease_epoch)
        self.attempts = {attempt for attempt in self.attempts if attempt.job_id not in chosen}
        self.crashes = [crash for crash in self.crashes if crash.job_id not in chosen]
        self.pruned += len(chosen)

    def holders(self, unique_key: str) -> Sequence[Row]:
        """The unfinished jobs with a key: one at most (I15)."""
        return [row for row in self.rows.values() if row.unique_key == unique_key and not row.has_ended]

    # -- inside --------------------------------------------------------------------------------------

    def _held(self, token: Token) -> Row | None:
        row = self.rows.get(token.id)
        return row if row and (row.status, row.lease_epoch) == ("running", token.epoch) else None

    def _end(self, row: Row, status: str) -> None:
        row.status, row.completed_at, row.lease_expires_at = status, self.now, None

    def _again(self, row: Row, delay: timedelta | None) -> None:
        if delay is not None:
            row.scheduled_at = self.now + delay
        if row.cancel_requested_at is not None:
            self._end(row, "cancelled")
        else:
            row.status, row.lease_expires_at = "pending", None

    def _record(self, row: Row, attempt: int, outcome: Outcome) -> None:
        match outcome:
            case Failed(error=error, reason=reason) | Rescheduled(error=error, reason=reason):
                pass
            case Cancelled(error=error):
                reason = "cancelled"
            case Released(error=error) if error is not None:
                reason = "interrupted"
            case _:
                return
        row.last_error = error.line()
        self.attempts.add(
            AttemptRow(
                row.id,
                row.lease_epoch,
                attempt,
                reason,
                error.type,
                error.message,
                row.worker_id,
                row.started_at,
            )
        )
