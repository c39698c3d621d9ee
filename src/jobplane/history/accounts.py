"""What callers were told against what became of it: nothing acknowledged is lost, nothing comes unasked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import UUID

from jobplane.history.lives import Life
from jobplane.history.record import Call, CallOutcome, History
from jobplane.history.violations import (
    DuplicateEnqueue,
    LostJob,
    MiscountedRetries,
    UnexpectedJob,
    Violation,
)
from jobplane.ids import id_from_key


def check_calls(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    """I1, I2 and the part of I10 that callers see. Says nothing where no client kept a journal."""
    if not history.calls:
        return
    wishes = [call for call in history.calls if call.operation == "enqueue"]
    present = {row.job_id for row in history.rows}
    if history.whole or not history.unbroken:
        # A history that begins in the middle cannot tell which jobs had been pruned before.
        yield from _lost(wishes, present, lives)
    yield from _unexpected(history, wishes, present, lives)
    yield from _duplicates(wishes)
    yield from _retries(history, lives)


def acknowledged_of(history: History) -> set[UUID]:
    """The jobs whose enqueue was acknowledged."""
    return {
        call.job_id
        for call in history.calls
        if call.operation == "enqueue" and call.outcome is CallOutcome.OK and call.job_id is not None
    }


def _lost(wishes: list[Call], present: set[UUID], lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    told: set[UUID] = set()
    for call in wishes:
        job_id = call.job_id
        if call.outcome is not CallOutcome.OK or job_id is None or job_id in present or job_id in told:
            continue
        life = lives.get(job_id)
        # One that was deleted, or that its history left unended, is told of there.
        if life is None:
            told.add(job_id)
            yield LostJob(
                job_id, f"job {job_id} was acknowledged, but neither its row nor any transition is there"
            )


def _unexpected(
    history: History, wishes: list[Call], present: set[UUID], lives: Mapping[UUID, Life]
) -> Iterator[Violation]:
    if not history.whole:
        return
    asked = {tick.job_id for tick in history.ticks}
    unknown = 0
    for call in wishes:
        if call.outcome is CallOutcome.FAIL:
            continue
        if call.job_id is not None:
            asked.add(call.job_id)
        elif call.key is not None:
            asked.add(id_from_key(call.key))
        else:
            # No answer and no key: any one job may have come of it.
            unknown += 1
    unasked = sorted((present | lives.keys()) - asked)
    for job_id in unasked[unknown:]:
        more = f", beside {unknown} that calls without an answer may have made" if unknown else ""
        yield UnexpectedJob(job_id, f"job {job_id} is there, but nobody asked for it{more}")


def _duplicates(wishes: list[Call]) -> Iterator[Violation]:
    first: dict[str, UUID] = {}
    for call in wishes:
        if call.key is None or call.job_id is None or call.outcome is not CallOutcome.OK:
            continue
        made = first.setdefault(call.key, call.job_id)
        if made != call.job_id:
            yield DuplicateEnqueue(
                call.job_id,
                f"the idempotency key {call.key!r} was answered with jobs {made} and {call.job_id}",
            )


def _retries(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    if not history.whole:
        return
    sure: Counter[UUID] = Counter()
    possible: Counter[UUID] = Counter()
    for call in history.calls:
        if call.operation == "retry" and call.job_id is not None:
            sure[call.job_id] += call.outcome is CallOutcome.OK
            # A refused one may be the second try of one that had happened, its answer lost.
            possible[call.job_id] += 1
    for job_id, most in possible.items():
        happened = lives[job_id].retries if job_id in lives else 0
        if not sure[job_id] <= happened <= most:
            yield MiscountedRetries(
                job_id,
                f"job {job_id}: {sure[job_id]} retries were acknowledged and {most} asked for, but {happened} happened",
            )
