"""What jobs share, and schedules: I14 to I17."""

from __future__ import annotations

from dataclasses import replace

from jobplane.history.record import History, Tick
from jobplane.history.violations import (
    DuplicateTick,
    OverLimit,
    PassedOver,
    SharedKey,
    WrongTick,
)
from tests.histories import (
    COMPLETED,
    Script,
    at,
    job,
    row_of,
)
from tests.history_cases.case import case, life


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


@case(OverLimit, "two at once where one may run, beside a queue without a limit")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(1)
    script.claim(1)
    for number in (2, 3):
        script.enqueue(number, queue="narrow")
    script.claim(2)
    if not broken:
        script.end("complete", 2)
    script.claim(3)
    return script.history(limits={"narrow": 1})


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
