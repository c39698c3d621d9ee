"""What handlers wrote down against the claims under which they ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import UUID

from jobplane.history.lives import Life
from jobplane.history.record import Execution, ExecutionEvent, History
from jobplane.history.violations import (
    DoubleCompletion,
    ExtraExecution,
    UnclaimedExecution,
    Violation,
)


def check_executions(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    """I5 and I6 as handlers saw them. Says nothing where none kept a journal."""
    starts: Counter[tuple[UUID, int]] = Counter()
    ends: Counter[tuple[UUID, int]] = Counter()
    for execution in history.executions:
        if execution.event is ExecutionEvent.START:
            starts[execution.job_id, execution.epoch] += 1
        elif execution.event is ExecutionEvent.END:
            ends[execution.job_id, execution.epoch] += 1
    for (job_id, epoch), count in starts.items():
        yield from _under_one_claim(history, lives.get(job_id), (job_id, epoch), count)
    for (job_id, epoch), count in ends.items():
        if count > 1:
            yield DoubleCompletion(job_id, f"job {job_id} ran to its end {count} times under epoch {epoch}")
    if history.whole:
        yield from _too_often(starts, lives)


def _under_one_claim(
    history: History, life: Life | None, claim: tuple[UUID, int], count: int
) -> Iterator[Violation]:
    job_id, epoch = claim
    if count > 1:
        yield ExtraExecution(job_id, f"job {job_id} was started {count} times under epoch {epoch}")
    if life is not None and epoch in life.unbegun:
        yield ExtraExecution(
            job_id,
            f"job {job_id} was started under epoch {epoch}, whose attempt was given back as never begun",
        )
    yield from _unclaimed(history, life, job_id, epoch)


def _unclaimed(history: History, life: Life | None, job_id: UUID, epoch: int) -> Iterator[Violation]:
    if not (history.whole or history.unbroken):
        return
    if life is None:
        claimed = not history.whole
    else:
        known = (*life.spent, (life.first_epoch, life.last.epoch))
        claimed = any(before < epoch <= last for before, last in known)
        if not history.whole:
            # Nothing is known of claims before the first that was recorded.
            earliest = next((before for before, last in known if last > 0), epoch)
            claimed = claimed or epoch <= earliest
    if not claimed:
        yield UnclaimedExecution(
            job_id, f"job {job_id} was started under epoch {epoch}, which was never claimed"
        )


def _too_often(starts: Counter[tuple[UUID, int]], lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    for job_id, count in _by_job(starts).items():
        life = lives.get(job_id)
        if life is None or life.births > 1:
            continue
        most = life.last.max_attempts  # with all that explicit retries granted
        if count > most + life.snoozes:
            yield ExtraExecution(
                job_id,
                f"job {job_id} must begin at most {most} times (max_attempts), and {life.snoozes} times more for its "
                f"snoozes, but was started {count} times",
            )


def extra_executions_of(history: History, lives: Mapping[UUID, Life]) -> int:
    """Executions that faults caused: beyond the first of each job, and those that a failed attempt, a snooze or a
    retry asked for.
    """
    starts = Counter(
        execution.job_id for execution in history.executions if execution.event is ExecutionEvent.START
    )
    return sum(
        max(0, count - 1 - (lives[job_id].repeats if job_id in lives else 0))
        for job_id, count in starts.items()
    )


def overlaps_of(history: History) -> int:
    """How often a job was started while an earlier execution of it was still under way, its process alive (I9).

    A figure, not a violation: a process that was stopped goes on from where it was until it learns of its loss. Alive
    is one that writes another line later. Times are those of the workers, so this needs one host, or clocks that agree.
    """
    last_seen: dict[int, float] = {}
    open_ones: dict[UUID, dict[int, Execution]] = {}
    ordered = sorted(history.executions, key=lambda execution: execution.at)
    for execution in ordered:
        last_seen[execution.pid] = execution.at
    overlaps = 0
    for execution in ordered:
        running = open_ones.setdefault(execution.job_id, {})
        if execution.event is ExecutionEvent.START:
            earlier = (other for epoch, other in running.items() if epoch < execution.epoch)
            overlaps += any(last_seen[other.pid] > execution.at for other in earlier)
            running[execution.epoch] = execution
        elif execution.event in {ExecutionEvent.END, ExecutionEvent.CANCELLED}:
            running.pop(execution.epoch, None)
    return overlaps


def _by_job(starts: Counter[tuple[UUID, int]]) -> Counter[UUID]:
    found: Counter[UUID] = Counter()
    for (job_id, _), count in starts.items():
        found[job_id] += count
    return found
