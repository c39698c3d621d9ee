"""Retry policies: how long to wait before the next attempt. Values, so that they compare, print and travel.

Each answers `delay(attempt)` for the attempt that just failed (1 for the first). Lengths of time are timedeltas or
seconds, here as everywhere.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeAlias

import msgspec

from jobplane.errors import InvalidInputError
from jobplane.limits import as_timedelta
from jobplane.payload import nests_too_deep

Errors: TypeAlias = tuple[type[BaseException], ...]
MAX_RETRY_DELAY: Final = timedelta(days=30)
_LENGTH: Final = "must be a timedelta or seconds, not negative"


def checked_delay(answer: object) -> timedelta:
    """What a policy answered, brought between 0 and 30 days. Raises InvalidInputError where it is no length of time."""
    if isinstance(answer, int | float) and not isinstance(answer, bool) and not math.isnan(answer):
        answer = min(max(answer, 0), MAX_RETRY_DELAY.total_seconds())  # also what no timedelta holds
    delay = as_timedelta("delay", answer, "of a retry policy must be a timedelta or seconds")
    return min(max(delay, timedelta(0)), MAX_RETRY_DELAY)


def _length(field: str, value: object) -> timedelta:
    length = as_timedelta(field, value, _LENGTH)
    if length < timedelta(0):
        raise InvalidInputError(field, value, _LENGTH)
    return length


def _errors(field: str, value: object) -> Errors:
    classes = (value,) if isinstance(value, type) else value
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise InvalidInputError(field, value, "must be exception classes, such as (TimeoutError, OSError)")
    settled = tuple(classes)
    for one in settled:
        if not isinstance(one, type) or not issubclass(one, BaseException):
            raise InvalidInputError(field, one, "must be exception classes, such as (TimeoutError, OSError)")
    return settled


def _set(policy: RetryPolicy, **values: object) -> None:
    # Policies are frozen.
    for name, value in values.items():
        object.__setattr__(policy, name, value)


def _factor(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise InvalidInputError("factor", value, "must be a finite number, not negative")
    return value


def _jitter(value: object) -> bool:
    if not isinstance(value, bool):
        raise InvalidInputError("jitter", value, "must be True or False")
    return value


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """The base of all policies. For one of your own, define `_delay(attempt)`: a timedelta, or seconds.

    A policy that raises, or whose answer is no length of time, fails no job: the default policy decides in its place, and
    the event RetryPolicyFailed says so.

    Args:
        only: retry after these exceptions alone; others fail the job for good. Default: after any.
        never: fail for good after these, even where `only` would allow them.

    Raises InvalidInputError where one of them is no exception class.
    """

    # Class attributes, so no slots: a subclass with an __init__ that does not call this one has the defaults.
    only: Errors = (BaseException,)
    never: Errors = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "only", _errors("only", self.only))
        object.__setattr__(self, "never", _errors("never", self.never))

    def delay(self, attempt: int) -> timedelta:
        """The wait after attempt number `attempt` failed, from 0 to 30 days.

        Raises InvalidInputError where the policy's answer is no length of time.
        """
        try:
            return checked_delay(self._delay(attempt))
        except OverflowError:  # longer than a timedelta holds
            return MAX_RETRY_DELAY

    def retries(self, error: BaseException) -> bool:
        """Whether this policy retries after `error`."""
        return isinstance(error, self.only) and not isinstance(error, self.never)

    def with_delays_of(self, other: RetryPolicy) -> RetryPolicy:
        """The delays of `other`, with the exceptions of this one: how a job overrides its type."""
        return replace(other, only=self.only, never=self.never)

    def _delay(self, attempt: int) -> timedelta | float:
        raise NotImplementedError(f"{type(self).__name__} must define _delay(attempt)")


@dataclass(frozen=True, init=False)
class Fixed(RetryPolicy):
    """The same wait every time, for example `Fixed(timedelta(minutes=5))` or `Fixed(300)`."""

    every: timedelta

    def __init__(
        self, every: timedelta | float, *, only: Errors = (BaseException,), never: Errors = ()
    ) -> None:
        super().__init__(only=only, never=never)
        _set(self, every=_length("every", every))

    def _delay(self, attempt: int) -> timedelta:  # noqa: ARG002 - each wait is the same
        return self.every


@dataclass(frozen=True, init=False)
class Linear(RetryPolicy):
    """step, 2 step, 3 step, ... up to cap (default: an hour)."""

    step: timedelta
    cap: timedelta

    def __init__(
        self,
        step: timedelta | float,
        cap: timedelta | float = timedelta(hours=1),
        *,
        only: Errors = (BaseException,),
        never: Errors = (),
    ) -> None:
        super().__init__(only=only, never=never)
        _set(self, step=_length("step", step), cap=_length("cap", cap))

    def _delay(self, attempt: int) -> timedelta:
        try:
            return min(self.step * attempt, self.cap)
        except OverflowError:
            return self.cap


@dataclass(frozen=True, init=False)
class Exponential(RetryPolicy):
    """base, 2 base, 4 base, ... up to cap, each drawn from (0, that] when jitter is on.

    "Full jitter" as in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: it
    spreads a crowd of jobs that failed together best.
    """

    base: timedelta
    cap: timedelta
    factor: float
    jitter: bool

    def __init__(
        self,
        base: timedelta | float = timedelta(seconds=5),
        cap: timedelta | float = timedelta(hours=1),
        factor: float = 2.0,
        jitter: bool = True,  # noqa: FBT001, FBT002 - the fourth of its fields, as it always was
        *,
        only: Errors = (BaseException,),
        never: Errors = (),
    ) -> None:
        super().__init__(only=only, never=never)
        _set(self, base=_length("base", base), cap=_length("cap", cap))
        _set(self, factor=_factor(factor), jitter=_jitter(jitter))

    def _delay(self, attempt: int) -> timedelta:
        try:
            ceiling = min(self.base * self.factor ** (attempt - 1), self.cap)
        except OverflowError:
            ceiling = self.cap
        return ceiling * (1.0 - random.random()) if self.jitter else ceiling  # noqa: S311 - spread, not secrecy


@dataclass(frozen=True, init=False)
class Listed(RetryPolicy):
    """An explicit list of waits, for example `Listed([10, 60, 600])`, which is the default; the last one repeats."""

    delays: tuple[timedelta, ...]

    def __init__(
        self,
        delays: Iterable[timedelta | float] = (10, 60, 600),
        *,
        only: Errors = (BaseException,),
        never: Errors = (),
    ) -> None:
        super().__init__(only=only, never=never)
        if isinstance(delays, str | bytes) or not isinstance(delays, Iterable):
            raise InvalidInputError("delays", delays, "must be a list of timedeltas or seconds")
        settled = tuple(_length("delays", delay) for delay in delays)
        if not settled:
            raise InvalidInputError("delays", delays, "must name at least one delay")
        _set(self, delays=settled)

    def _delay(self, attempt: int) -> timedelta:
        return self.delays[min(attempt, len(self.delays)) - 1]


DEFAULT_RETRY: Final[RetryPolicy] = Exponential()


def check_policy(value: object) -> RetryPolicy:
    """A retry policy, and not its class or a number. Raises InvalidInputError."""
    if not isinstance(value, RetryPolicy) or type(value) is RetryPolicy:
        raise InvalidInputError(
            "retry", value, "must be a retry policy, such as Fixed(60) or Exponential(base=5)"
        )
    return value


class _Wire(msgspec.Struct, omit_defaults=True):
    """A policy as stored with a job: its kind and seconds. Exceptions stay with the type."""

    kind: str
    seconds: list[float]
    factor: float = 2.0
    jitter: bool = True


def encode_policy(policy: object) -> str:
    """The policy's delays as JSON text. Raises InvalidInputError for what is none of the four policies here."""
    known = check_policy(policy)
    # By its very class: a subclass may decide its delays in code, which no row can hold.
    match known if type(known) in {Fixed, Linear, Exponential, Listed} else None:
        case Fixed(every=every):
            wire = _Wire("fixed", [every.total_seconds()])
        case Linear(step=step, cap=cap):
            wire = _Wire("linear", [step.total_seconds(), cap.total_seconds()])
        case Exponential(base=base, cap=cap, factor=factor, jitter=jitter):
            wire = _Wire(
                "exponential", [base.total_seconds(), cap.total_seconds()], float(factor), bool(jitter)
            )
        case Listed(delays=delays):
            wire = _Wire("listed", [delay.total_seconds() for delay in delays])
        case _:
            raise InvalidInputError(
                "retry",
                policy,
                "must be Fixed, Linear, Exponential or Listed to be stored with a job; give a policy of your own to the "
                "task instead: @queue.task(retry=...)",
            )
    return msgspec.json.encode(wire).decode()


def decode_policy(text: str) -> RetryPolicy | None:
    """The policy that `encode_policy` wrote; None for a kind that this version does not know."""
    if nests_too_deep(text):
        return None
    try:
        wire = msgspec.json.decode(text, type=_Wire)
        match wire.kind:
            case "fixed":
                return Fixed(wire.seconds[0])
            case "linear":
                return Linear(wire.seconds[0], wire.seconds[1])
            case "exponential":
                return Exponential(wire.seconds[0], wire.seconds[1], wire.factor, wire.jitter)
            case "listed":
                return Listed(wire.seconds)
            case _:
                return None
    except (msgspec.MsgspecError, IndexError, OverflowError, ValueError):
        return None  # also what another producer wrote that is no policy
