"""The fence: I5."""

from __future__ import annotations

from dataclasses import replace

from jobplane.history.record import History
from jobplane.history.violations import (
    BrokenFence,
    DoubleCompletion,
    ExtraExecution,
    StaleWrite,
    UnclaimedExecution,
)
from tests.histories import (
    PENDING,
    RUNNING,
    A,
    B,
    Script,
    actor,
    row_of,
)
from tests.history_cases.case import END, START, case, life, ran


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
    # The first claim counts on from whichever jobs were deleted; those after it one by one.
    script.claim(epoch=7)
    script.end("release")
    script.claim(epoch=9 if broken else 8)
    return script.history()


@case(BrokenFence, "the fence starts again for an id that comes back")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.gone()
    script.enqueue()
    script.claim(epoch=1 if broken else 2)
    return script.history()


@case(BrokenFence, "the third life of an id has an epoch of its first")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(epoch=5)
    script.end("complete")
    script.gone()
    script.enqueue()
    script.cancel()
    script.gone()
    script.enqueue()
    script.claim(epoch=5 if broken else 6)
    return script.history()


@case(BrokenFence, "a claim has no epoch")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue()
    script.claim(epoch=0 if broken else 1)
    return script.history()


@case(BrokenFence, "a row has more attempts than claims")
def _(script: Script, *, broken: bool) -> History:
    row = row_of(script.enqueue(), attempts=1)
    return script.history(transitions=(), rows=(replace(row, adopted=not broken),), whole=False)


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


@case(UnclaimedExecution, "started under an epoch between two lives")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.gone()
    script.enqueue()
    script.claim(epoch=5)
    script.end("complete")
    return script.history(executions=(ran(START), ran(START, 3 if broken else 5)))


@case(ExtraExecution, "started twice under one epoch of a job that came back")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    script.gone()
    script.enqueue()
    script.claim(epoch=2)
    script.end("complete")
    return script.history(executions=(ran(START), ran(START, 1 if broken else 2)))


@case(UnclaimedExecution, "started though nothing is known of it")
def _(script: Script, *, broken: bool) -> History:
    life(script)
    return script.history(executions=(ran(START, 1, 2),), whole=broken)
