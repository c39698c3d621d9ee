"""The words of a handler and of the executor are values with the defaults that their documentation names."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import timedelta

import pytest

from jobplane.failure import ErrorReport
from jobplane.outcome import (
    Cancel,
    Cancelled,
    Completed,
    Fail,
    Failed,
    Lost,
    Released,
    Rescheduled,
    Retry,
    Snooze,
    Snoozed,
)

SECOND = timedelta(seconds=1)
ERROR = ErrorReport("E", "m")
EVERY = [
    Snooze(SECOND),
    Cancel(),
    Fail("no"),
    Retry(SECOND),
    Completed(),
    Failed(ERROR),
    Rescheduled(ERROR, SECOND),
    Snoozed(SECOND),
    Cancelled(ERROR),
    Released(),
    Lost(),
]


@pytest.mark.parametrize("value", EVERY, ids=lambda value: type(value).__name__)
def test_an_outcome_is_a_value_that_cannot_be_changed(value: object) -> None:
    with pytest.raises((FrozenInstanceError, TypeError)):
        value.result = value.error = value.delay = value.reason = None  # type: ignore[attr-defined]

    assert len({value, type(value)(*_fields(value))}) == 1


def test_what_is_not_said_is_empty() -> None:
    assert (Snooze(SECOND).reason, Cancel().reason, Retry(SECOND).reason) == ("", "", "")
    assert (Completed().result, Released().error) == (None, None)


def test_an_attempt_that_failed_is_recorded_as_failed_unless_said_otherwise() -> None:
    assert (Failed(ERROR).reason, Rescheduled(ERROR, SECOND).reason) == ("failed", "failed")


def _fields(value: object) -> list[object]:
    return [getattr(value, name) for name in type(value).__dataclass_fields__]  # type: ignore[attr-defined]
