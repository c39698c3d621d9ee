"""When a claim goes on behind the last one, and for how long that may pass anything over (I13, I14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from jobplane.job import Claim
from jobplane.worker import low_water
from jobplane.worker.low_water import LowWater

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """The monotonic clock, turned by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(low_water, "time", clock)
    return clock


def job(number: int, priority: int = 0) -> Claim:
    """The n-th job of a priority, as claimed."""
    due = NOON + timedelta(seconds=number)
    return Claim(UUID(int=number), "t", "{}", 1, 3, 1, "q", priority, due, due, due, None, (), None, None)


def mark(number: int) -> tuple[datetime, UUID]:
    return NOON + timedelta(seconds=number), UUID(int=number)


def slow_down(water: LowWater, *claims: Claim, filled: bool = True, seconds: float = 0.03) -> None:
    """One quick claim to compare with, then two slow ones."""
    water.claimed([], 0.001, full=True, filled=False)
    for _ in range(2):
        water.claimed(claims, seconds, full=True, filled=filled)


def test_quick_claims_look_at_everything(clock: Clock) -> None:
    water = LowWater(1.0)

    for number in range(5):
        water.claimed([job(number)], 0.001, full=True, filled=True)

    assert water.marks() == []


def test_a_big_batch_is_no_sign_of_a_slow_walk(clock: Clock) -> None:
    water = LowWater(1.0)
    water.claimed([], 0.001, full=True, filled=False)

    for _ in range(3):
        water.claimed([job(number) for number in range(1000)], 0.02, full=True, filled=True)

    assert water.marks() == []


def test_one_hiccup_changes_nothing(clock: Clock) -> None:
    water = LowWater(1.0)
    water.claimed([], 0.001, full=True, filled=False)

    water.claimed([job(1)], 0.5, full=True, filled=True)

    assert water.marks() == []


def test_a_time_in_which_a_connection_was_opened_teaches_nothing(clock: Clock) -> None:
    """Or a good claim would seem to take as long as that for the next tens of claims, and slow ones would look quick."""
    water = LowWater(1.0)
    water.claimed([], None, full=True, filled=False)

    slow_down(water, job(1))
    water.claimed([job(2)], None, full=False, filled=True)

    assert water.marks() == [(0, mark(2))]
    water.claimed([job(3)], None, full=True, filled=False)
    assert water.marks() == [(0, mark(3))], "they are still slow, as far as anyone knows"


def test_after_slow_claims_the_next_goes_on_behind_the_last_job_of_each_priority(clock: Clock) -> None:
    water = LowWater(1.0)

    slow_down(water, job(1, 5), job(2, 5), job(1, 0))

    assert water.marks() == [(5, mark(2)), (0, mark(1))]


def test_marks_move_on_with_each_claim(clock: Clock) -> None:
    water = LowWater(1.0)
    slow_down(water, job(1))

    water.claimed([job(7), job(8)], 0.001, full=False, filled=False)

    assert water.marks() == [(0, mark(8))]


@pytest.mark.parametrize(
    ("poll_interval", "slow", "longest"), [(5.0, 3.0, 1.0), (0.2, 3.0, 0.2), (1.0, 0.01102, 0.1)]
)
def test_everything_is_looked_at_again_in_time(
    clock: Clock, poll_interval: float, slow: float, longest: float
) -> None:
    """Never later than a poll would come, nor than a second, nor than ten times what looking costs."""
    water = LowWater(poll_interval)
    slow_down(water, job(1), seconds=slow)

    clock.now += longest * 0.98
    assert water.marks() != []
    assert 0 < water.seconds_until_full() <= longest * 0.03
    clock.now += longest * 0.03
    assert water.full_is_due()


def test_while_a_full_claim_is_under_way_no_other_is_due(clock: Clock) -> None:
    water = LowWater(1.0)
    slow_down(water, job(1))
    clock.now += 2

    water.look_begins()
    clock.now += 60

    assert not water.full_is_due()
    water.claimed([], 0.05, full=True, filled=False)
    assert 0 < water.seconds_until_full() <= 1.0


def test_after_a_full_claim_that_failed_the_next_is_due_in_time(clock: Clock) -> None:
    water = LowWater(0.5)
    slow_down(water, job(1))
    water.look_begins()

    assert water.look_failed() == 0.5

    assert not water.full_is_due()
    clock.now += 0.5
    assert water.full_is_due()


def test_what_a_full_claim_found_far_behind_moves_no_mark_back(clock: Clock) -> None:
    """Or the next claim would walk over everything in between."""
    water = LowWater(1.0)
    slow_down(water, job(9))
    clock.now += 2

    water.claimed([job(2)], 0.03, full=True, filled=False)

    assert water.marks() == [(0, mark(9))]


def test_a_full_claim_that_stopped_early_forgets_the_marks_that_it_did_not_reach(clock: Clock) -> None:
    water = LowWater(1.0)
    slow_down(water, job(3, 5), job(4, 0), filled=False)

    clock.now += 2
    water.claimed([job(9, 5)], 0.03, full=True, filled=True)

    assert water.marks() == [(5, mark(9))]


def test_a_full_claim_that_saw_everything_keeps_marks_of_priorities_that_had_nothing(clock: Clock) -> None:
    water = LowWater(1.0)
    slow_down(water, job(3, 5), job(4, 0), filled=False)

    clock.now += 2
    water.claimed([job(9, 5)], 0.03, full=True, filled=False)

    assert water.marks() == [(5, mark(9)), (0, mark(4))]


def test_once_claims_are_quick_again_the_marks_are_gone(clock: Clock) -> None:
    water = LowWater(1.0)
    slow_down(water, job(3))

    clock.now += 2
    water.claimed([job(4)], 0.001, full=True, filled=False)

    assert water.marks() == []
    assert water.seconds_until_full() == float("inf")


def test_marks_that_save_nothing_are_given_up(clock: Clock) -> None:
    """A machine that has become slow, or a network: claims behind the marks take as long as the others."""
    water = LowWater(1.0)
    slow_down(water, job(0))

    for number in range(1, 40):
        full = water.full_is_due()
        water.claimed([job(number)], 0.03, full=full, filled=False)
        clock.now += 0.03

    assert water.marks() == []
    water.claimed([job(50)], 0.03, full=True, filled=False)
    assert water.marks() == []


def test_a_queue_of_countless_priorities_does_without(clock: Clock) -> None:
    water = LowWater(1.0)

    slow_down(water, *(job(1, priority) for priority in range(low_water.MOST_PRIORITIES + 1)))

    assert water.marks() == []
