"""The rows at the end: each by itself, together, and against what the transitions say became of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import UUID

from jobplane.history.lives import Life
from jobplane.history.record import History, Row
from jobplane.history.violations import (
    BrokenChain,
    BrokenFence,
    ImpossibleRow,
    LateRecovery,
    LostJob,
    SharedKey,
    StuckJob,
    TooManyAttempts,
    Unbalanced,
    Violation,
)
from jobplane.job import TERMINAL, JobStatus


def check_rows(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    """What no row may look like, whether or not a history was kept (I4, I5, I6, I7, I11, I15)."""
    holders: dict[str, UUID] = {}
    for row in history.rows:
        if not row.adopted:
            yield from _impossible(row)
        if row.attempts > row.max_attempts and row.job_id not in lives:
            yield TooManyAttempts(
                row.job_id, f"job {row.job_id} has begun {row.attempts} attempts of {row.max_attempts}"
            )
        yield from _unattended(history, row)
        if row.unique_key is not None and row.status not in TERMINAL:
            other = holders.setdefault(row.unique_key, row.job_id)
            if other != row.job_id:
                yield SharedKey(
                    row.job_id,
                    f"jobs {other} and {row.job_id} are both unfinished and have the unique key {row.unique_key!r}",
                )


def _impossible(row: Row) -> Iterator[Violation]:
    if row.status is JobStatus.RUNNING and row.lease_expires_at is None:
        yield ImpossibleRow(
            row.job_id, f"job {row.job_id} is running without a lease: nothing will take it back"
        )
    if row.status is not JobStatus.RUNNING and row.lease_expires_at is not None:
        yield ImpossibleRow(row.job_id, f"job {row.job_id} is {row.status}, and has a lease")
    if row.ended is not None and row.ended is not (row.status in TERMINAL):
        yield ImpossibleRow(
            row.job_id,
            f"job {row.job_id} is {row.status} {'with' if row.ended else 'without'} a completed_at",
        )
    if row.epoch < row.attempts:
        yield BrokenFence(
            row.job_id,
            f"job {row.job_id} has begun {row.attempts} attempts, but was claimed {row.epoch} times by its epoch",
        )


def _unattended(history: History, row: Row) -> Iterator[Violation]:
    if row.status is JobStatus.RUNNING and row.lease_expires_at is not None and history.profile is not None:
        profile = history.profile
        late = history.now - row.lease_expires_at
        bound = profile.recovery - profile.lease
        if late > bound:
            yield LateRecovery(
                row.job_id,
                f"job {row.job_id} has had an expired lease for {_seconds(late)}; it had to be taken back within "
                f"{_seconds(bound)}",
            )
    if not history.settled:
        return
    if row.status is JobStatus.RUNNING:
        yield StuckJob(row.job_id, f"job {row.job_id} is still running (attempt {row.attempts})")
    elif row.status is JobStatus.PENDING and row.scheduled_at <= history.now:
        yield StuckJob(
            row.job_id,
            f"job {row.job_id} is still pending in queue {row.queue}, due for {_seconds(history.now - row.scheduled_at)}",
        )


def check_agreement(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    """Whether the last transition of each job and its row say the same (I1, I11, I20)."""
    if not (history.whole or history.unbroken):
        return
    left = dict.fromkeys(lives)
    for row in history.rows:
        left.pop(row.job_id, None)
        life = lives.get(row.job_id)
        if life is not None:
            yield from _disagreement(row, life)
        elif history.whole:
            yield BrokenChain(row.job_id, f"job {row.job_id} is {row.status}, but no transition made it")
    for job_id in left:
        last = lives[job_id].last
        if last.after is not None:
            yield LostJob(
                job_id,
                f"job {job_id} is gone: rev {last.rev} ({last.verb}) left it {last.after}, and nothing deleted it",
            )
    if history.whole:
        yield from _unbalanced(history, lives)


def _disagreement(row: Row, life: Life) -> Iterator[Violation]:
    last = life.last
    is_now = (row.status, row.epoch, row.attempts, row.max_attempts, row.lease_expires_at)
    was_left = (last.after, last.epoch, last.attempts, last.max_attempts, last.lease_is)
    if is_now != was_left:
        names = ("status", "epoch", "attempts", "max_attempts", "lease")
        told = "; ".join(
            f"{name} {there}, not {here}"
            for name, there, here in zip(names, is_now, was_left, strict=True)
            if there != here
        )
        yield BrokenChain(
            row.job_id,
            f"job {row.job_id} was changed past its history: after rev {last.rev} ({last.verb}) it has {told}",
        )


def _unbalanced(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    there = Counter(row.queue for row in history.rows)
    pruned = Counter(life.last.queue for life in lives.values() if life.last.after is None)
    enqueued = Counter(life.last.queue for life in lives.values())
    for queue in sorted(there | enqueued):
        if enqueued[queue] != there[queue] + pruned[queue]:
            yield Unbalanced(
                None,
                f"queue {queue}: {enqueued[queue]} jobs were enqueued, but {there[queue]} are there and "
                f"{pruned[queue]} were pruned",
            )


def _seconds(length: timedelta) -> str:
    return f"{length.total_seconds():.3f} s"
