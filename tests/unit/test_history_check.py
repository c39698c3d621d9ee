"""check(): each promise has a history that breaks it, and a near miss that does not (I1-I20, without I3, I9, I18, I19)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest

from jobplane.history import violations
from jobplane.history.check import check
from jobplane.history.record import Call, CallOutcome, Execution, ExecutionEvent, History, Tick
from jobplane.history.violations import (
    BrokenChain,
    BrokenFence,
    ClaimAfterCancel,
    DoubleCompletion,
    DuplicateEnqueue,
    DuplicateTick,
    EarlyStart,
    EarlySteal,
    EndedTwice,
    ExtraExecution,
    IllegalTransition,
    ImpossibleRow,
    LateRecovery,
    LostJob,
    MiscountedAttempts,
    MiscountedRetries,
    OverLimit,
    PassedOver,
    SharedKey,
    StaleWrite,
    StuckJob,
    TerminalLeft,
    TooManyAttempts,
    Unbalanced,
    UnclaimedExecution,
    UnexpectedJob,
    Violation,
    WrongTick,
)
from jobplane.ids import id_from_key
from tests.histories import (
    CANCELLED,
    COMPLETED,
    LEASE,
    PENDING,
    PROFILE,
    RUNNING,
    A,
    B,
    Script,
    actor,
    at,
    job,
    row_of,
)


class Twice(Protocol):
    """A history written twice."""

    def __call__(self, script: Script, *, broken: bool) -> History: ...


CASES: list[tuple[type[Violation], str, Twice]] = []


def case(kind: type[Violation], name: str) -> Callable[[Twice], None]:
    """A history written twice: broken, and nearly so."""
    return lambda build: CASES.append((kind, name, build))


def asked(
    number: int = 1, outcome: CallOutcome = CallOutcome.OK, operation: str = "enqueue", **more: object
) -> Call:
    """A call about a job."""
    call = Call(operation=operation, outcome=outcome, job_id=job(number), begun_at=0.0)
    return replace(call, **more)  # type: ignore[arg-type]


def ran(event: ExecutionEvent, epoch: int = 1, number: int = 1) -> Execution:
    """A line of a handler's journal."""
    return Execution(event=event, job_id=job(number), epoch=epoch, pid=11, at=at(1).timestamp())


START, END = ExecutionEvent.START, ExecutionEvent.END


def life(script: Script, number: int = 1, **changes: object) -> None:
    """Enqueued, claimed and completed."""
    script.enqueue(number, **changes)  # type: ignore[arg-type]
    script.claim(number)
    script.end("complete", number)


# -- I1, I2, I4, I20: callers and rows -------------------------------------------------------------------------


@case(LostJob, "acknowledged, and nothing is there")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    if not broken:
        script.enqueue(2)
        script.cancel(2)
        script.gone("prune", 2)
    return script.history(calls=(asked(1), asked(2)))


@case(LostJob, "its row went without a word")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    if not broken:
        script.gone("prune")
    return script.history(rows=())


@case(LostJob, "someone else deleted it")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.gone("delete" if broken else "prune")
    return script.history()


@case(UnexpectedJob, "nobody asked")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    life(script, 2)
    unanswered = Call(operation="enqueue", outcome=CallOutcome.INFO, job_id=None, begun_at=0.0)
    refused = replace(unanswered, outcome=CallOutcome.FAIL)
    return script.history(calls=(asked(1), refused if broken else unanswered))


@case(UnexpectedJob, "asked under another key")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    made = replace(script.last[job(1)], job_id=id_from_key("order-1"))
    moved = [replace(item, job_id=made.job_id) for item in script.transitions]
    unanswered = Call(operation="enqueue", outcome=CallOutcome.INFO, job_id=None, begun_at=0.0)
    key = "order-2" if broken else "order-1"
    return script.history(
        transitions=tuple(moved), rows=(row_of(made),), calls=(replace(unanswered, key=key),)
    )


@case(DuplicateEnqueue, "one key, two jobs")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    life(script, 2)
    return script.history(calls=(asked(1, key="a"), asked(1, key="a"), asked(2, key="a" if broken else "b")))


@case(StuckJob, "still running at rest")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    return script.history(settled=broken)


@case(StuckJob, "still due at rest")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(scheduled_at=at(0 if broken else 99))
    return script.history(settled=True)


@case(Unbalanced, "more were enqueued than are there")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    life(script, 2)
    history = script.history()
    return replace(history, rows=history.rows[: 1 if broken else 2])


# -- I5: the fence ---------------------------------------------------------------------------------------------


@case(BrokenFence, "a claim did not count")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    script.end("release")
    script.claim(epoch=1 if broken else 2)
    return script.history()


@case(BrokenFence, "an epoch was reset by a retry")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.retry(epoch=0 if broken else 1)
    return script.history()


@case(BrokenFence, "an epoch was skipped")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(epoch=2 if broken else 1)
    return script.history()


@case(BrokenFence, "a row has more attempts than claims")
def _(script: Script, *, broken: bool) -> History:
    row = row_of(script.enqueue(), attempts=1)
    return script.history(transitions=(), rows=(replace(row, adopted=not broken),), whole=False)


@pytest.mark.parametrize("verb", ["complete", "fail", "reschedule", "snooze", "release", "cancel"])
def test_a_claim_that_another_worker_writes_to_is_a_stale_write(verb: str) -> None:
    """Seeded bug 1: complete without the epoch."""
    for writer, expected in ((B, {StaleWrite}), (A, set())):
        script = Script()
        script.enqueue()
        script.claim(worker=B)
        script.rescue(when=5)
        script.claim(worker=A)
        if verb == "cancel":
            script.cancel()
        script.end(verb, actor=actor(writer))

        assert {type(violation) for violation in check(script.history())} == expected


@case(StaleWrite, "a zombie's heartbeat")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(worker=A)
    script.renew(actor=actor(B if broken else A, "heartbeat"))
    return script.history()


@case(StaleWrite, "a claim in another's name")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(worker=A, actor=actor(B) if broken else "pgbouncer")
    return script.history()


@case(StaleWrite, "a renewal that takes the job over")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(worker=A)
    script.renew(worker_id=B if broken else A, actor="pooled")
    return script.history()


@case(DoubleCompletion, "one claim completed twice")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.retry()
    if not broken:
        script.claim()
    script.end("complete", before=PENDING if broken else RUNNING)
    return script.history()


@case(DoubleCompletion, "one claim ran to its end twice")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    return script.history(executions=(ran(START), ran(END), *((ran(END),) if broken else ())))


@case(UnclaimedExecution, "started under an epoch that never was")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    return script.history(executions=(ran(START, 2 if broken else 1),))


@case(UnclaimedExecution, "started though nothing is known of it")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    return script.history(executions=(ran(START, 1, 2),), whole=broken)


# -- I6: attempts ----------------------------------------------------------------------------------------------


@case(MiscountedAttempts, "counted at the end instead of the claim")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(attempts=0 if broken else 1)
    return script.history()


@case(MiscountedAttempts, "given back by a failure")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    script.end("reschedule" if broken else "snooze", attempts=0)
    return script.history()


@case(MiscountedAttempts, "not given back by a snooze")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    script.end("snooze", attempts=1 if broken else 0)
    return script.history()


@case(MiscountedAttempts, "a rescue raised the limit")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(max_attempts=1)
    script.claim()
    script.rescue(when=5)
    if broken:
        script.transitions[-1] = script.last[job(1)] = replace(
            script.last[job(1)], after=PENDING, max_attempts=2
        )
    return script.history()


@case(TooManyAttempts, "one more than allowed")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(max_attempts=1 if broken else 2)
    script.claim()
    script.end("reschedule")
    script.claim(when=9)
    return script.history()


@case(TooManyAttempts, "a row beyond its limit")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    row = row_of(script.last[job(1)], attempts=4 if broken else 3, epoch=9)
    return script.history(transitions=(), rows=(row,), whole=False)


@case(ExtraExecution, "two starts of one claim")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    return script.history(executions=(ran(START), *((ran(START),) if broken else (ran(END),))))


@case(ExtraExecution, "at most once ran twice")
def _(script: Script, *, broken: bool) -> History:
    """Given back by a snooze, it may run again."""
    script.enqueue(max_attempts=1)
    script.claim()
    script.end("reschedule" if broken else "snooze")
    script.claim(when=9)
    return script.history(executions=(ran(START, 1), ran(START, 2)))


# -- I7, I8: leases --------------------------------------------------------------------------------------------


@case(LateRecovery, "the next claim came too late")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(when=0)
    script.claim(when=1)
    script.renew(when=2)
    script.rescue(when=5)
    script.claim(when=6.1 if broken else 6.0)
    script.end("complete")
    return script.history(profile=PROFILE, settled=True)


@case(LateRecovery, "late, but nobody was there")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(when=0)
    script.claim(when=1)
    script.rescue(when=9)
    script.claim(when=10)
    script.end("complete")
    away = timedelta(seconds=0 if broken else 5)
    return script.history(profile=replace(PROFILE, away=away), settled=True)


@case(LateRecovery, "an expired lease that nobody takes back")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(when=0)
    script.claim(when=1)
    return script.history(profile=PROFILE, now=at(1 + 4 + (0.1 if broken else -0.1)))


@case(EarlySteal, "before the lease had ended")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(when=0)
    script.claim(when=1)
    script.renew(when=2)
    script.rescue(when=3.9 if broken else 4.1)
    return script.history()


@case(EarlySteal, "a job that has no lease")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(when=0)
    script.claim(lease_is=None if broken else at(0.2) + LEASE)
    script.rescue(when=9)
    return script.history()


# -- I10-I13: the state machine --------------------------------------------------------------------------------


@case(TerminalLeft, "an ended job was made pending by hand")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    if broken:
        script.other(after=PENDING)
    else:
        script.other(priority=7)
    return script.history()


@case(MiscountedRetries, "acknowledged twice, happened once")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.retry()
    second = CallOutcome.OK if broken else CallOutcome.FAIL
    retried = (asked(operation="retry"), asked(operation="retry", outcome=second))
    return script.history(calls=(asked(), *retried))


@case(MiscountedRetries, "asked for once, happened twice")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.retry()
    script.cancel()
    if broken:
        script.retry()
    return script.history(calls=(asked(), asked(operation="retry")))


@case(IllegalTransition, "completed without a claim")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    if not broken:
        script.claim()
    script.end("complete", actor="pooled")
    return script.history()


@case(IllegalTransition, "claimed by other software")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.other(after=RUNNING if broken else CANCELLED)
    return script.history()


@case(IllegalTransition, "renewed after the end")
def _(script: Script, *, broken: bool) -> History:
    """Seeded bug 6: a heartbeat by id only."""
    script.enqueue()
    script.claim()
    if broken:
        script.end("release")
    script.renew(after=PENDING if broken else RUNNING)
    return script.history()


@case(IllegalTransition, "a verb that nobody knows")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    script.renew(verb="finish" if broken else "renew")
    return script.history()


@case(IllegalTransition, "pruned before its end")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    if not broken:
        script.cancel()
    script.gone("prune")
    return script.history()


@case(BrokenChain, "a revision is missing")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.retry(rev=5 if broken else 4)
    return script.history()


@case(BrokenChain, "the history begins in the middle")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    history = script.history()
    return replace(history, transitions=history.transitions[1:], whole=broken, unbroken=True)


@case(BrokenChain, "a status changed unseen")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    if broken:
        script.end("release", before=RUNNING)
        script.transitions.pop()
        script.claim(rev=3)
    return script.history()


@case(BrokenChain, "a lease changed unseen")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    held = script.last[job(1)].lease_is
    script.renew(lease_was=None if broken else held)
    return script.history()


@case(BrokenChain, "the row is not what the history led to")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    row = row_of(script.last[job(1)])
    return script.history(rows=(replace(row, attempts=2, epoch=2) if broken else row,))


@case(BrokenChain, "a row that no transition made")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    return script.history(transitions=(), whole=broken)


@case(ImpossibleRow, "running without a lease")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    row = row_of(script.claim(), lease_expires_at=None, adopted=not broken)
    return script.history(transitions=(), rows=(row,), whole=False)


@case(ImpossibleRow, "a lease without running")
def _(script: Script, *, broken: bool) -> History:
    row = row_of(script.enqueue(), lease_expires_at=at(9) if broken else None)
    return script.history(transitions=(), rows=(row,), whole=False)


@case(ImpossibleRow, "completed without a time")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    row = row_of(script.last[job(1)], ended=not broken)
    return script.history(rows=(row,))


@case(ClaimAfterCancel, "cancelled, and claimed all the same")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.cancel()
    if not broken:
        script.retry()
    script.claim()
    return script.history()


@case(EndedTwice, "completed after it had been cancelled")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim()
    script.cancel()
    if broken:
        script.end("cancel")
    script.end("complete", before=RUNNING)
    return script.history()


@case(EarlyStart, "claimed before it was due")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(scheduled_at=at(5))
    script.claim(when=4.99 if broken else 5.0)
    return script.history()


# -- I14-I17: what jobs share ----------------------------------------------------------------------------------


@case(PassedOver, "a later one was claimed")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(1, when=0)
    script.enqueue(2, when=0.5)
    script.claim(2 if broken else 1, when=3)
    script.claim(1 if broken else 2, when=4.5)
    return script.history(ordered_queues=frozenset({"default"}))


@case(PassedOver, "a lower priority was claimed, again and again")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(9, when=0, priority=1, type="work" if broken else "other")
    for number in range(1, 4):
        script.enqueue(number, when=number)
        script.claim(number, when=number + 0.1)
    return script.history(ordered_queues=frozenset({"default"}))


@case(PassedOver, "just before, or a while before its own claim")
def _(script: Script, *, broken: bool) -> History:
    """Two workers claim at once: the later job may be recorded first."""
    script.enqueue(1, when=0)
    script.enqueue(2, when=0)
    script.claim(2, when=3)
    script.claim(1, when=4.1 if broken else 3.9)
    return script.history(ordered_queues=frozenset({"default"}))


@case(SharedKey, "two unfinished jobs of one key")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(1, unique_key="k")
    if not broken:
        script.cancel(1)
    script.enqueue(2, unique_key="k")
    if broken:
        script.cancel(1)
    return script.history()


@case(SharedKey, "a retry took the key back")
def _(script: Script, *, broken: bool) -> History:
    """Seeded bug 12's other side."""
    life(script, 1, unique_key="k")
    script.enqueue(2, unique_key="k")
    if not broken:
        script.cancel(2)
    script.retry(1)
    script.cancel(2) if broken else script.cancel(1)
    return script.history()


@case(SharedKey, "two rows of one key")
def _(script: Script, *, broken: bool) -> History:
    rows = [row_of(script.enqueue(number, unique_key="k")) for number in (1, 2)]
    rows[1] = rows[1] if broken else replace(rows[1], status=COMPLETED, ended=True)
    return script.history(transitions=(), rows=tuple(rows), whole=False)


@case(OverLimit, "three at once where two may run")
def _(script: Script, *, broken: bool) -> History:
    for number in (1, 2, 3):
        script.enqueue(number)
    script.claim(1)
    script.claim(2)
    if not broken:
        script.end("complete", 1)
    script.claim(3)
    return script.history(limits={"default": 2})


@case(DuplicateTick, "one tick twice")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    life(script, 2)
    ticks = (
        Tick(schedule="s", tick=at(0), job_id=job(1)),
        Tick(schedule="s", tick=at(0 if broken else 0.1), job_id=job(2)),
    )
    return script.history(ticks=ticks)


@case(WrongTick, "a tick is missing")
def _(script: Script, *, broken: bool) -> History:
    expected = {at(0), at(0.1)} if broken else {at(0)}
    script.now = 1
    return script.history(ticks=(Tick(schedule="s", tick=at(0)),), expected_ticks={"s": frozenset(expected)})


@case(WrongTick, "a tick that is not in the schedule")
def _(script: Script, *, broken: bool) -> History:
    script.now = 1
    wrong = (Tick(schedule="s", tick=at(0.5)),) if broken else ()
    return script.history(
        ticks=(Tick(schedule="s", tick=at(0)), *wrong), expected_ticks={"s": frozenset({at(0)})}
    )


@case(WrongTick, "a tick in the future")
def _(script: Script, *, broken: bool) -> History:
    return script.history(ticks=(Tick(schedule="s", tick=at(60 if broken else 0)),))


@pytest.mark.parametrize(
    ("kind", "build"), [pytest.param(kind, build, id=name) for kind, name, build in CASES]
)
def test_a_history_that_breaks_a_promise_is_found(kind: type[Violation], build: Twice) -> None:
    found = check(build(Script(), broken=True))

    assert kind in {type(violation) for violation in found}
    assert all(violation.says and violation.promise for violation in found)


@pytest.mark.parametrize("build", [pytest.param(build, id=name) for _, name, build in CASES])
def test_a_near_miss_is_not(build: Twice) -> None:
    assert check(build(Script(), broken=False)) == []


def test_every_violation_has_its_case() -> None:
    kinds = {
        kind
        for kind in vars(violations).values()
        if isinstance(kind, type) and issubclass(kind, Violation) and kind is not Violation
    }

    assert kinds - {kind for kind, *_ in CASES} == set()
    assert all(kind.promise.startswith("I") for kind in kinds)


def test_one_fault_is_not_told_as_many() -> None:
    """After a violation the check goes on from what it found, so that the rest is judged by itself."""
    script = Script()
    script.enqueue()
    script.claim(epoch=7)
    for _ in range(5):
        script.renew()
    script.end("complete")

    assert [type(violation) for violation in check(script.history())] == [BrokenFence]


def test_nothing_is_no_violation() -> None:
    assert check(Script().history(calls=(), executions=())) == []
