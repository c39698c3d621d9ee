"""What the executor makes of a handler's end, without a database: each way to end is one outcome (I6, I9, I19)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum

import pydantic
import pytest

from jobplane import Cancel, Fail, Retry, Snooze, task
from jobplane.events import JobLost, ResultNotStored
from jobplane.failure import ErrorReport
from jobplane.outcome import Cancelled, Completed, Failed, Lost, Outcome, Released, Rescheduled, Snoozed
from jobplane.retry import DEFAULT_RETRY, Exponential, Fixed, RetryPolicy, encode_policy
from tests.unit.executor_bench import SECOND, Bench, claimed, raising, returning


@pytest.mark.parametrize(
    ("value", "outcome"),
    [
        (None, Completed()),
        ({"a": [1, None]}, Completed('{"a":[1,null]}')),
        (0, Completed("0")),
        (Snooze(SECOND), Snoozed(SECOND)),
        (Snooze(-SECOND), Snoozed(timedelta(0))),
        (Snooze(timedelta(days=366)), Snoozed(timedelta(days=366))),
        (Cancel("no need"), Cancelled(ErrorReport("Cancel", "no need"))),
        (Cancel("\0"), Cancelled(ErrorReport("Cancel", "\N{REPLACEMENT CHARACTER}"))),
        (Fail("never"), Failed(ErrorReport("Fail", "never"))),
        (Retry(SECOND, "busy"), Rescheduled(ErrorReport("Retry", "busy"), SECOND)),
        (Retry(-SECOND), Rescheduled(ErrorReport("Retry", ""), timedelta(0))),
    ],
    ids=str,
)
async def test_what_a_handler_returns_is_its_outcome(value: object, outcome: Outcome) -> None:
    assert await Bench(returning(value)).run() == outcome


async def test_a_result_that_nobody_wants_is_not_even_encoded() -> None:
    assert await Bench(returning(object(), store_result=False)).run() == Completed()


class Explosive(Mapping[str, int]):
    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[str]:
        raise LookupError("s3cret")

    def __getitem__(self, key: str) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (object(), "object is not a type that JSON can hold"),
        (range(10**12), "at most"),
        (["x" * 2**20] * 2**20, "at most"),
        ([[[["x" * 1000] * 1000] * 1000] * 1000] * 1000, "at most"),
        (Explosive(), "writing it as JSON raised LookupError"),
        ([b"x" * 2**20] * 2**20, "at most"),
        (math.nan, "finite"),
    ],
    ids=["object", "range", "shared text", "shared lists", "raises", "shared bytes", "nan"],
)
async def test_a_result_that_cannot_be_stored_does_not_fail_finished_work(value: object, says: str) -> None:
    """The effects stand, and another run would not make it storable. Nothing of the size that it pretends to
    have is made of it.
    """
    bench = Bench(returning(value))
    outcome = await bench.run()

    assert isinstance(outcome, Completed)
    assert outcome.result is None
    assert outcome.not_stored is not None
    assert outcome.not_stored.line().startswith("result not stored: ")
    assert says in outcome.not_stored.message
    assert "s3cret" not in outcome.not_stored.message
    (event,) = [event for event in bench.seen if isinstance(event, ResultNotStored)]
    assert event.reason == outcome.not_stored.message


class Colour(Enum):
    RED = "r"


class Light(pydantic.BaseModel):
    name: str
    blob: str = pydantic.Field(default="x" * 2**20, exclude=True)


@pytest.mark.parametrize(
    "value",
    [[7] * 524_287, [Colour.RED] * 200_000, [Light(name="a")] * 50_000, {str(n): "" for n in range(80_000)}],
    ids=["numbers", "enums", "models", "object"],
)
async def test_a_result_that_fits_is_never_taken_for_too_large(value: object) -> None:
    outcome = await Bench(returning(value)).run()

    assert isinstance(outcome, Completed)
    assert outcome.not_stored is None
    assert outcome.result is not None


async def test_the_place_of_what_cannot_be_stored_is_told_unless_it_may_be_private() -> None:
    """last_error is for people who may not see results."""
    for value, says in (
        ({"rows": [math.nan]}, "result.rows[0] must"),
        ({"ann@acme.example": math.nan}, "result must"),
    ):
        outcome = await Bench(returning(value)).run()

        assert isinstance(outcome, Completed)
        assert outcome.not_stored is not None
        assert outcome.not_stored.message.startswith(says)


@pytest.mark.parametrize("delay", [timedelta(days=366, seconds=1), "soon", None, math.nan])
@pytest.mark.parametrize("decision", [Snooze, Retry])
async def test_a_delay_that_cannot_be_stored_is_a_failure_of_the_handler(
    decision: type[Snooze | Retry], delay: object
) -> None:
    outcome = await Bench(returning(decision(delay), policy=Fixed(SECOND))).run()  # type: ignore[arg-type]

    assert isinstance(outcome, Rescheduled)
    assert (outcome.error.type, outcome.delay) == ("InvalidInputError", SECOND)
    assert outcome.error.message.startswith("delay must be a timedelta or seconds, at most a year (366 days)")


async def test_the_last_attempt_is_not_followed_by_another() -> None:
    """I6."""
    for handler in (returning(Retry(SECOND, "busy")), raising(ValueError("busy"))):
        assert isinstance(await Bench(handler).run(claimed(attempt=2)), Rescheduled)
        last = await Bench(handler).run(claimed(attempt=3))
        assert isinstance(last, Failed)
        assert (last.error.message, last.reason) == ("busy", "failed")


async def test_a_failure_waits_as_its_policy_says() -> None:
    outcome = await Bench(raising(ValueError("no"), Fixed(7 * SECOND))).run()

    assert isinstance(outcome, Rescheduled)
    assert (outcome.error.type, outcome.error.message) == ("ValueError", "no")
    assert (outcome.delay, outcome.reason) == (7 * SECOND, "failed")


async def test_a_failure_without_a_policy_waits_as_the_default_says() -> None:
    @task
    async def handler() -> None:
        raise ValueError

    outcome = await Bench(handler).run(claimed(attempt=2))

    assert isinstance(DEFAULT_RETRY, Exponential)
    assert isinstance(outcome, Rescheduled)
    assert timedelta(0) < outcome.delay <= 2 * DEFAULT_RETRY.base


async def test_an_error_that_the_policy_does_not_retry_fails_for_good() -> None:
    policy = Fixed(SECOND, never=(ValueError,))

    assert isinstance(await Bench(raising(ValueError(), policy)).run(), Failed)
    assert isinstance(await Bench(raising(OSError(), policy)).run(), Rescheduled)


async def test_a_jobs_own_policy_gives_the_delay_and_its_types_the_errors() -> None:
    own = encode_policy(Fixed(9 * SECOND))
    policy = Fixed(SECOND, never=(ValueError,))

    outcome = await Bench(raising(OSError(), policy)).run(claimed(policy=own))
    assert isinstance(outcome, Rescheduled)
    assert outcome.delay == 9 * SECOND
    assert isinstance(await Bench(raising(ValueError(), policy)).run(claimed(policy=own)), Failed)
    unknown = await Bench(raising(OSError(), policy)).run(claimed(policy='{"kind":"new","seconds":[]}'))
    assert isinstance(unknown, Rescheduled)
    assert unknown.delay == SECOND


async def test_a_jobs_own_policy_counts_where_its_type_has_none() -> None:
    @task
    async def handler() -> None:
        raise ValueError

    outcome = await Bench(handler).run(claimed(policy=encode_policy(Fixed(9 * SECOND))))

    assert isinstance(outcome, Rescheduled)
    assert outcome.delay == 9 * SECOND


async def test_a_policy_that_raises_costs_no_outcome() -> None:
    """I19."""

    class Broken(RetryPolicy):
        def _delay(self, attempt: int) -> timedelta:
            raise LookupError(attempt)

    assert isinstance(await Bench(raising(ValueError(), Broken())).run(), Rescheduled)


async def test_a_policy_that_answers_less_than_nothing_means_at_once() -> None:
    class Impatient(RetryPolicy):
        def _delay(self, attempt: int) -> timedelta:
            return -SECOND * attempt

    outcome = await Bench(raising(ValueError(), Impatient())).run()

    assert isinstance(outcome, Rescheduled)
    assert outcome.delay == timedelta(0)


async def test_arguments_that_do_not_fit_are_retried_whatever_the_policy_says() -> None:
    """The next deploy may understand them."""

    @task(retry=Fixed(SECOND, only=(OSError,)))
    async def handler(number: int) -> None: ...

    outcome = await Bench(handler).run(claimed(payload='{"number": "x"}'))

    assert isinstance(outcome, Rescheduled)
    assert outcome.error.type == "InvalidArgumentsError"


async def test_a_type_that_is_not_known_is_handed_back_untouched() -> None:
    """I18."""
    assert await Bench(returning(1)).run(claimed(type="other")) == Released()


async def test_an_attempt_beyond_the_limit_is_not_run() -> None:
    """I6."""
    bench = Bench(returning(1))

    assert await bench.run(claimed(attempt=4, max_attempts=3)) == Failed(
        ErrorReport("AttemptsExhausted", "attempt 4 of 3 was not run")
    )
    assert bench.seen == []
    assert await bench.run(claimed(attempt=3, max_attempts=3)) == Completed("1")


async def test_a_task_that_must_not_run_twice_does_not() -> None:
    @task(at_most_once=True)
    async def handler() -> int:
        return 1

    outcome = await Bench(handler).run(claimed(attempt=2))
    assert isinstance(outcome, Failed)
    assert outcome.error.type == "AtMostOnce"
    assert await Bench(handler).run(claimed(attempt=1)) == Completed("1")


@pytest.mark.parametrize("lease", [-1.0, 0.0, 0.08])
async def test_a_claim_whose_lease_is_about_to_end_is_not_begun(lease: float) -> None:
    """I9: others may have it before the handler's first line."""
    bench = Bench(returning(1))
    claim = claimed(lease=lease)

    assert await bench.run(claim) == Lost()
    assert bench.seen == [JobLost(claim, "its lease ended before a slot was free")]
