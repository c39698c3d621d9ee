"""So many at once, so many a second, whatever is asked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobplane.token_bucket import TokenBucket


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_only_what_comes_back() -> None:
    clock = Clock()
    bucket = TokenBucket(10, 3, clock)

    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    clock.now += 0.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    clock.now += 3600
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False], (
        "no more is saved up than a burst"
    )


def test_it_says_when_the_next_one_may_come() -> None:
    clock = Clock()
    bucket = TokenBucket(4, 1, clock)

    assert bucket.seconds_until_next() == 0
    assert bucket.take()
    assert not bucket.take()
    assert bucket.seconds_until_next() == 0.25
    clock.now += 0.25
    assert bucket.take()


@given(st.lists(st.floats(0, 2), max_size=200))
def test_never_more_than_the_burst_and_the_rate(pauses: list[float]) -> None:
    clock = Clock()
    bucket, taken = TokenBucket(5, 7, clock), 0

    for pause in pauses:
        clock.now += pause
        taken += bucket.take()

    assert taken <= 7 + 5 * (clock.now - 1000.0) + 1e-6
