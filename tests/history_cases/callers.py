"""What callers were told, and rows by themselves: I1, I2, I4, I20."""

from __future__ import annotations

from dataclasses import replace

from jobplane.history.record import Call, CallOutcome, History
from jobplane.history.violations import (
    DuplicateEnqueue,
    LostJob,
    StuckJob,
    Unbalanced,
    UnexpectedJob,
)
from jobplane.ids import id_from_key
from tests.histories import (
    Script,
    at,
    job,
    row_of,
)
from tests.history_cases.case import asked, case, life


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
