"""The state machine: I10 to I13."""

from __future__ import annotations

from dataclasses import replace

from jobplane.history.record import CallOutcome, History
from jobplane.history.violations import (
    BrokenChain,
    ClaimAfterCancel,
    EarlyStart,
    EndedTwice,
    IllegalTransition,
    ImpossibleRow,
    MiscountedRetries,
    TerminalLeft,
)
from tests.histories import (
    CANCELLED,
    PENDING,
    RUNNING,
    Script,
    at,
    job,
    row_of,
)
from tests.history_cases.case import asked, case, life


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
