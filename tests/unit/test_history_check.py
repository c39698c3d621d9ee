"""check(): each promise has a history that breaks it, and a near miss that does not (I1-I20, without I3, I9, I18, I19)."""

from __future__ import annotations

import pytest

from jobplane.history import violations
from jobplane.history.check import check
from jobplane.history.violations import (
    BrokenFence,
    StaleWrite,
    Violation,
)
from tests.histories import (
    A,
    B,
    Script,
    actor,
)
from tests.history_cases import attempts, callers, fence, machine, shared
from tests.history_cases.case import CASES, Twice

MODULES = (attempts, callers, fence, machine, shared)
"""Importing them registers their cases."""


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
    script.claim()
    script.end("release")
    script.claim(epoch=7)
    for _ in range(5):
        script.renew()
    script.end("complete")

    assert [type(violation) for violation in check(script.history())] == [BrokenFence]


def test_nothing_is_no_violation() -> None:
    assert check(Script().history(calls=(), executions=())) == []
