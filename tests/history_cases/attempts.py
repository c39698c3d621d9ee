"""Attempts and leases: I6, I7, I8."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from jobplane.history.record import History
from jobplane.history.violations import (
    EarlySteal,
    ExtraExecution,
    LateRecovery,
    MiscountedAttempts,
    TooManyAttempts,
)
from tests.histories import (
    LEASE,
    PENDING,
    PROFILE,
    Script,
    at,
    job,
    row_of,
)
from tests.history_cases.case import END, START, case, life, ran


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


@case(ExtraExecution, "begun more often than max_attempts allows")
def _(script: Script, *, broken: bool) -> History:
    """Two of two; a snooze beside them is the handler's own wish."""
    script.enqueue(max_attempts=2)
    script.claim()
    script.end("snooze", when=1)
    script.claim(when=9)
    script.end("reschedule", when=10)
    script.claim(when=19)
    starts = [ran(START, epoch) for epoch in (1, 2, 3)]
    return script.history(executions=(*starts, ran(START, 3)) if broken else tuple(starts))


@case(ExtraExecution, "the rescue gave an attempt back that had begun")
def _(script: Script, *, broken: bool) -> History:
    """A suspect whose worker died while it waited to run alone did not begin."""
    script.enqueue(max_attempts=2)
    script.claim()
    script.rescue(when=5)
    script.claim(when=6)
    script.rescue(when=10, after=PENDING, attempts=1)
    script.claim(when=11)
    epochs = (1, 2, 3) if broken else (1, 3)
    return script.history(executions=tuple(ran(START, epoch) for epoch in epochs))


@case(ExtraExecution, "released although the handler had begun")
def _(script: Script, *, broken: bool) -> History:
    script.enqueue(max_attempts=2)
    script.claim()
    script.end("release", when=1)
    script.claim(when=2)
    epochs = (1, 2) if broken else (2,)
    return script.history(executions=tuple(ran(START, epoch) for epoch in epochs))


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
