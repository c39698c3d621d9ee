"""How a case is written, and what many of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from jobplane.history.record import Call, CallOutcome, Execution, ExecutionEvent, History
from jobplane.history.violations import (
    Violation,
)
from tests.histories import (
    Script,
    at,
    job,
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
