"""Retry policies: how long each waits, which errors it retries, and that it survives being stored with a job."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane import (
    Exponential,
    Fixed,
    InvalidInputError,
    JobQueueOptions,
    Linear,
    Listed,
    RetryPolicy,
    new_job,
)
from jobplane.retry import DEFAULT_RETRY, MAX_RETRY_DELAY, decode_policy, encode_policy
from jobplane.task import TaskSettings, TaskSpec

SECOND = timedelta(seconds=1)
_waits = st.timedeltas(min_value=timedelta(0), max_value=timedelta.max)
_exact = st.integers(0, 10**9).map(lambda milliseconds: timedelta(milliseconds=milliseconds))


def _policies(waits: st.SearchStrategy[timedelta]) -> st.SearchStrategy[RetryPolicy]:
    return st.one_of(
        waits.map(Fixed),
        st.builds(Linear, waits, waits),
        st.builds(Exponential, waits, waits, st.floats(0, 1e308), st.booleans()),
        st.lists(waits, min_size=1, max_size=5).map(lambda delays: Listed(tuple(delays))),
    )


@given(_policies(_waits), st.integers(1, 100))
def test_every_policy_waits_between_nothing_and_30_days(policy: RetryPolicy, attempt: int) -> None:
    assert timedelta(0) <= policy.delay(attempt) <= MAX_RETRY_DELAY


@given(_policies(_exact))
def test_every_policy_comes_back_from_storage_as_it_was(policy: RetryPolicy) -> None:
    assert decode_policy(encode_policy(policy)) == policy


def test_a_stored_policy_that_nests_deeper_than_json_may_is_unknown() -> None:
    """The same on every Python, however deep its parser reaches."""
    for levels in (65, 1_000, 5_000, 200_000):
        nested = "[" * levels + "]" * levels

        assert decode_policy(f'{{"kind": "fixed", "seconds": [1], "more": {nested}}}') is None


def test_fixed_always_waits_the_same() -> None:
    policy = Fixed(timedelta(minutes=5))

    assert [policy.delay(attempt) for attempt in (1, 2, 50)] == [timedelta(minutes=5)] * 3


def test_linear_grows_by_a_step_up_to_its_cap() -> None:
    policy = Linear(10 * SECOND, cap=25 * SECOND)

    assert [policy.delay(attempt) / SECOND for attempt in (1, 2, 3, 100)] == [10, 20, 25, 25]


def test_exponential_doubles_up_to_its_cap() -> None:
    policy = Exponential(base=5 * SECOND, cap=60 * SECOND, jitter=False)

    assert [policy.delay(attempt) / SECOND for attempt in (1, 2, 3, 4, 5, 100)] == [5, 10, 20, 40, 60, 60]


def test_exponential_takes_another_factor() -> None:
    policy = Exponential(base=SECOND, factor=3.0, jitter=False)

    assert [policy.delay(attempt) / SECOND for attempt in (1, 2, 3)] == [1, 3, 9]


def test_full_jitter_spreads_over_the_whole_interval_and_is_never_zero() -> None:
    policy = Exponential(base=100 * SECOND)

    delays = [policy.delay(1) / SECOND for _ in range(2000)]

    assert all(0 < delay <= 100 for delay in delays)
    tenths = [sum(10 * n < delay <= 10 * (n + 1) for delay in delays) for n in range(10)]
    assert min(tenths) > 100, f"each tenth should hold about 200 of 2000: {tenths}"


def test_listed_repeats_its_last_delay() -> None:
    policy = Listed((SECOND, 5 * SECOND))

    assert [policy.delay(attempt) / SECOND for attempt in (1, 2, 3, 100)] == [1, 5, 5, 5]


def test_an_empty_list_is_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"^delays must name at least one delay"):
        Listed(())


def test_what_is_not_said_is_as_documented() -> None:
    minute, hour = timedelta(minutes=1), timedelta(hours=1)

    assert Linear(SECOND).cap == Exponential().cap == hour
    assert (Exponential().base, Exponential().factor) == (5 * SECOND, 2.0)
    assert Listed().delays == (10 * SECOND, minute, 10 * minute)


def test_no_wait_is_longer_than_thirty_days_even_where_it_cannot_be_reckoned() -> None:
    assert timedelta(days=30) == MAX_RETRY_DELAY
    assert Fixed(timedelta(days=31)).delay(1) == MAX_RETRY_DELAY

    class Endless(RetryPolicy):
        def _delay(self, attempt: int) -> timedelta:
            return timedelta.max * attempt

    assert Endless().delay(2) == MAX_RETRY_DELAY


@pytest.mark.parametrize(
    ("policy", "stored"),
    [
        (Fixed(SECOND), '{"kind":"fixed","seconds":[1.0]}'),
        (Linear(SECOND, 2 * SECOND), '{"kind":"linear","seconds":[1.0,2.0]}'),
        (Exponential(SECOND, 2 * SECOND), '{"kind":"exponential","seconds":[1.0,2.0]}'),
        (
            Exponential(SECOND, 2 * SECOND, 3.0, jitter=False),
            '{"kind":"exponential","seconds":[1.0,2.0],"factor":3.0,"jitter":false}',
        ),
        (Listed((SECOND, 2 * SECOND)), '{"kind":"listed","seconds":[1.0,2.0]}'),
    ],
)
def test_a_policy_is_stored_in_the_words_that_older_and_newer_workers_read(
    policy: RetryPolicy, stored: str
) -> None:
    assert encode_policy(policy) == stored
    assert decode_policy(stored) == policy


@pytest.mark.parametrize(
    ("policy", "error", "retried"),
    [
        (Fixed(SECOND), ValueError(), True),
        (Fixed(SECOND), KeyboardInterrupt(), True),
        (Fixed(SECOND, only=(OSError,)), ValueError(), False),
        (Fixed(SECOND, only=(OSError,)), ConnectionResetError(), True),
        (Fixed(SECOND, never=(ValueError,)), UnicodeError(), False),
        (Fixed(SECOND, never=(ValueError,)), OSError(), True),
        (Fixed(SECOND, only=(OSError,), never=(TimeoutError,)), TimeoutError(), False),
    ],
)
def test_only_the_given_errors_are_retried(policy: RetryPolicy, error: BaseException, retried: bool) -> None:  # noqa: FBT001
    assert policy.retries(error) is retried


def test_a_jobs_own_policy_brings_its_delays_and_the_types_errors_stay() -> None:
    own = Fixed(SECOND)
    of_type = Linear(SECOND, only=(OSError,), never=(TimeoutError,))

    assert of_type.with_delays_of(own) == Fixed(SECOND, only=(OSError,), never=(TimeoutError,))


def test_the_default_is_exponential_with_jitter() -> None:
    assert Exponential() == DEFAULT_RETRY
    assert Exponential().jitter


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        "7",
        "not json",
        '{"kind": "fixed"}',
        '{"kind": "fixed", "seconds": []}',
        '{"kind": "linear", "seconds": [1]}',
        '{"kind": "listed", "seconds": []}',
        '{"kind": "fixed", "seconds": [1e300]}',
        '{"kind": "fixed", "seconds": ["1"]}',
        '{"kind": "fibonacci", "seconds": [1]}',
        '{"kind": "fixed", "seconds": [-1]}',
        '{"kind": "linear", "seconds": [1, -1]}',
        '{"kind": "exponential", "seconds": [1, 2], "factor": -1}',
    ],
)
def test_a_stored_policy_that_this_version_cannot_read_is_none(text: str) -> None:
    assert decode_policy(text) is None


def test_a_policy_of_the_users_own_cannot_be_stored_with_a_job() -> None:
    class Own(RetryPolicy):
        def _delay(self, attempt: int) -> timedelta:
            return SECOND * attempt

    with pytest.raises(InvalidInputError, match=r"^retry must be Fixed, Linear, Exponential or Listed"):
        encode_policy(Own())
    assert Own().delay(10**9) == MAX_RETRY_DELAY


def test_policies_are_values_that_compare_and_print() -> None:
    assert Fixed(SECOND) == Fixed(SECOND)
    assert len({Fixed(SECOND), Fixed(SECOND), Linear(SECOND)}) == 2
    assert repr(Fixed(SECOND)).startswith("Fixed(")


def test_lengths_are_seconds_too_as_everywhere() -> None:
    minute = timedelta(minutes=1)

    assert Fixed(60) == Fixed(minute)
    assert Linear(60, 120.0) == Linear(minute, 2 * minute)
    assert Exponential(60, cap=120, factor=3) == Exponential(minute, cap=2 * minute, factor=3.0)
    assert Listed([60, minute]) == Listed((minute, minute))


_NO_LENGTHS: list[object] = [-1, timedelta(seconds=-1), math.nan, math.inf, None, "5", True, [1]]


@pytest.mark.parametrize("value", _NO_LENGTHS, ids=str)
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (Fixed, "every"),
        (Linear, "step"),
        (lambda value: Linear(1, cap=value), "cap"),
        (lambda value: Exponential(base=value), "base"),
        (lambda value: Exponential(cap=value), "cap"),
        (lambda value: Listed([1, value]), "delays"),
    ],
)
def test_a_length_that_is_none_is_refused_with_its_field(
    make: Callable[[object], RetryPolicy], field: str, value: object
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field} must be a timedelta or seconds, not negative"):
        make(value)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"factor": math.nan}, "factor"),
        ({"factor": -2}, "factor"),
        ({"factor": "2"}, "factor"),
        ({"jitter": "no"}, "jitter"),
        ({"only": "ValueError"}, "only"),
        ({"only": (ValueError, "OSError")}, "only"),
        ({"never": ValueError()}, "never"),
        ({"never": (int,)}, "never"),
    ],
    ids=str,
)
def test_other_arguments_of_a_wrong_kind_are_refused_with_their_field(
    options: dict[str, float], field: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"^{field} must be"):
        Exponential(**options)  # type: ignore[arg-type]


def test_delays_that_are_no_list_are_refused() -> None:
    for value in (5, "5", SECOND):
        with pytest.raises(InvalidInputError, match=r"^delays must be a list"):
            Listed(value)  # type: ignore[arg-type]


def test_one_exception_or_a_list_of_them_is_taken_as_the_tuple_that_was_meant() -> None:
    assert Fixed(1, only=OSError, never=[TimeoutError]) == Fixed(1, only=(OSError,), never=(TimeoutError,))  # type: ignore[arg-type]
    assert not Fixed(1, only=OSError).retries(ValueError())  # type: ignore[arg-type]


@dataclass(frozen=True)
class Answers(RetryPolicy):
    """A policy of the user's own."""

    answer: object = None

    def _delay(self, attempt: int) -> timedelta:  # noqa: ARG002 - always the same
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("answer", "delay"),
    [
        (5, 5 * SECOND),
        (0.25, SECOND / 4),
        (SECOND, SECOND),
        (-5, timedelta(0)),
        (-SECOND, timedelta(0)),
        (10**400, MAX_RETRY_DELAY),
        (1e300, MAX_RETRY_DELAY),
        (math.inf, MAX_RETRY_DELAY),
        (timedelta.max, MAX_RETRY_DELAY),
    ],
    ids=str,
)
def test_an_answer_in_seconds_or_out_of_bounds_means_what_it_says(answer: object, delay: timedelta) -> None:
    assert Answers(answer=answer).delay(1) == delay


@pytest.mark.parametrize("answer", [None, math.nan, "5", True, [5], {}], ids=str)
def test_an_answer_that_is_no_length_of_time_is_an_error_of_the_policy(answer: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^delay of a retry policy must be a timedelta or seconds"):
        Answers(answer=answer).delay(1)


def test_a_policy_with_an_init_of_its_own_has_the_default_exceptions() -> None:
    class Mine(RetryPolicy):
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        def _delay(self, attempt: int) -> float:
            return self.seconds * attempt

    assert Mine(2).delay(3) == 6 * SECOND
    assert Mine(2).retries(ValueError())


def test_a_subclass_of_a_policy_is_not_stored_as_what_it_was_made_from() -> None:
    class Hourly(Fixed):
        def _delay(self, attempt: int) -> timedelta:
            return 3600 * SECOND * attempt

    with pytest.raises(InvalidInputError, match=r"give a policy of your own to the task instead"):
        encode_policy(Hourly(1))


@pytest.mark.parametrize("value", [3, Fixed, "exponential", RetryPolicy(), timedelta(1), abs], ids=str)
def test_what_is_no_policy_is_refused_where_it_is_given(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^retry must be a retry policy, such as Fixed"):
        TaskSpec(abs, "work", TaskSettings(retry=value))  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match=r"^retry must be a retry policy, such as Fixed"):
        new_job("work", {}, cast("JobQueueOptions", {"retry": value}))
