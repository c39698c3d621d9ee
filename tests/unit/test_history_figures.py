"""figures(): the numbers of a run, from a history whose numbers are known."""

from __future__ import annotations

from dataclasses import asdict

from jobplane.history.figures import figures
from jobplane.history.record import Call, CallOutcome, Execution, ExecutionEvent
from tests.histories import A, B, Script, actor, at, job

START, END, CANCELLED = ExecutionEvent.START, ExecutionEvent.END, ExecutionEvent.CANCELLED


def ran(event: ExecutionEvent, epoch: int, seconds: float, pid: int = 1, number: int = 1) -> Execution:
    """A line of a handler's journal."""
    return Execution(event=event, job_id=job(number), epoch=epoch, pid=pid, at=at(seconds).timestamp())


def test_a_run_with_a_killed_worker_has_these_figures() -> None:
    script = Script()
    script.enqueue(1, when=0)
    script.enqueue(2, when=0)
    script.claim(1, worker=A, when=1)
    script.claim(2, worker=A, when=1)
    script.end("reschedule", 2, when=1.5)
    script.rescue(1, when=3.5)
    script.claim(1, worker=B, when=4)
    script.claim(2, worker=B, when=4)
    script.end("complete", 1, when=5)
    script.end("complete", 2, when=5)
    executions = (
        ran(START, 1, 1), ran(START, 2, 4, pid=2), ran(END, 2, 5, pid=2),
        ran(START, 1, 1, number=2), ran(START, 2, 4, pid=2, number=2), ran(END, 2, 5, pid=2, number=2),
    )  # fmt: skip
    calls = tuple(
        Call(operation="enqueue", outcome=CallOutcome.OK, job_id=job(n), begun_at=0) for n in (1, 2)
    )

    found = figures(script.history(executions=executions, calls=calls))

    assert asdict(found) == {
        "jobs": 2,
        "acknowledged": 2,
        "lost": 0,
        "unexpected": 0,
        "claims": 4,
        "completions": 2,
        "double_completions": 0,
        "executions": 4,
        "extra_executions": 1,  # the second job's second run was asked for
        "overlaps": 0,
        "rescues": 1,
        "recovery_max": 3.0,
        "recovery_median": 3.0,
        "attempts_over_max": 0,
        "illegal_transitions": 0,
        "stale_writes": 0,
        "early_steals": 0,
        "stuck": 0,
        "violations": 0,
    }


def test_what_is_wrong_is_counted() -> None:
    script = Script()
    script.enqueue(1, max_attempts=1)
    script.claim(1, worker=A)
    script.rescue(1, when=1)
    script.retry(1, max_attempts=1)
    script.claim(1, worker=A)
    script.end("complete", 1, actor=actor(B))
    script.enqueue(2)
    asked = tuple(
        Call(operation="enqueue", outcome=CallOutcome.OK, job_id=job(n), begun_at=0) for n in (1, 3)
    )

    found = figures(script.history(calls=asked, settled=True))

    assert (found.lost, found.unexpected, found.stuck) == (1, 1, 1)
    assert (found.attempts_over_max, found.stale_writes, found.early_steals) == (1, 1, 1)
    assert found.violations == 6


def test_a_start_beside_a_living_execution_is_an_overlap() -> None:
    """I9: a process that is dead, or that was told to stop, does not overlap."""
    script = Script()
    first = (ran(START, 1, 1, pid=1), ran(START, 2, 5, pid=2))

    assert figures(script.history(executions=first)).overlaps == 0
    assert figures(script.history(executions=(*first, ran(END, 1, 6, pid=1)))).overlaps == 1
    stopped = ran(CANCELLED, 1, 4, pid=1)
    assert (
        figures(script.history(executions=(*first, stopped, ran(START, 1, 9, pid=1, number=2)))).overlaps == 0
    )


def test_nothing_has_no_figures() -> None:
    found = figures(Script().history())

    assert (found.recovery_max, found.recovery_median) == (None, None)
    assert sum(value for value in asdict(found).values() if value is not None) == 0
