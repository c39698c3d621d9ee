"""Retry policies: how long to wait before the next attempt. Values, so that they compare, print and travel.

Each answers `delay(attempt)` for the attempt that just failed (1 for the first).
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final, TypeAlias

import msgspec

from jobplane.errors import InvalidInputError
from jobplane.payload import nests_too_deep

Errors: TypeAlias = tuple[type[BaseException], ...]
MAX_RETRY_DELAY: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy(ABC):
    """The base of all policies.

    Args:
        only: retry after these exceptions alone; others fail the job for good. Default: after any.
        never: fail for good after these, even where `only` would allow them.
    """

    only: Errors = (BaseException,)
    never: Errors = ()

    def delay(self, attempt: int) -> timedelta:
        """The wait after attempt number `attempt` failed, at most 30 days."""
        try:
            return min(self._delay(attempt), MAX_RETRY_DELAY)
        except OverflowError:  # longer than a timedelta holds
            return MAX_RETRY_DELAY

    def retries(self, error: BaseException) -> bool:
        """Whether this policy retries after `error`."""
        return isinstance(error, self.only) and not isinstance(error, self.never)

    def with_delays_of(self, other: RetryPolicy) -> RetryPolicy:
        """The delays of `other`, with the exceptions of this one: how a job overrides its type."""
        return replace(other, only=self.only, never=self.never)

    @abstractmethod
    def _delay(self, attempt: int) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Fixed(RetryPolicy):
    """The same wait every time, for example `Fixed(timedelta(minutes=5))`."""

    every: timedelta

    def _delay(self, attempt: int) -> timedelta:  # noqa: ARG002
        return self.every


@dataclass(frozen=True, slots=True)
class Linear(RetryPolicy):
    """step, 2 step, 3 step, ... up to cap."""

    step: timedelta
    cap: timedelta = timedelta(hours=1)

    def _delay(self, attempt: int) -> timedelta:
        try:
            return min(self.step * attempt, self.cap)
        except OverflowError:
            return self.cap


@dataclass(frozen=True, slots=True)
class Exponential(RetryPolicy):
    """base, 2 base, 4 base, ... up to cap, each drawn from (0, that] when jitter is on.

    "Full jitter" as in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: it
    spreads a crowd of jobs that failed together best.
    """

    base: timedelta = timedelta(seconds=5)
    cap: timedelta = timedelta(hours=1)
    factor: float = 2.0
    jitter: bool = True

    def _delay(self, attempt: int) -> timedelta:
        try:
            ceiling = min(self.base * self.factor ** (attempt - 1), self.cap)
        except OverflowError:
            ceiling = self.cap
        return ceiling * (1.0 - random.random()) if self.jitter else ceiling  # noqa: S311 - spread, not secrecy


@dataclass(frozen=True, slots=True)
class Listed(RetryPolicy):
    """An explicit list of waits; the last one repeats."""

    delays: tuple[timedelta, ...] = field(
        default=(timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=10))
    )

    def __post_init__(self) -> None:
        if not self.delays:
            raise InvalidInputError("delays", self.delays, "must name at least one delay")

    def _delay(self, attempt: int) -> timedelta:
        return self.delays[min(attempt, len(self.delays)) - 1]


DEFAULT_RETRY: Final[RetryPolicy] = Exponential()


class _Wire(msgspec.Struct, omit_defaults=True):
    """A policy as stored with a job: its kind and seconds. Exceptions stay with the type."""

    kind: str
    seconds: list[float]
    factor: float = 2.0
    jitter: bool = True


def encode_policy(policy: RetryPolicy) -> str:
    """The policy's delays as JSON text."""
    match policy:
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
                "retry", policy, "must be Fixed, Linear, Exponential or Listed to be stored with a job"
            )
    return msgspec.json.encode(wire).decode()


def decode_policy(text: str) -> RetryPolicy | None:
    """The policy that `encode_policy` wrote; None for a kind that this version does not know."""
    if nests_too_deep(text):
        return None
    try:
        wire = msgspec.json.decode(text, type=_Wire)
        delays = [timedelta(seconds=seconds) for seconds in wire.seconds]
        match wire.kind:
            case "fixed":
                return Fixed(delays[0])
            case "linear":
                return Linear(delays[0], delays[1])
            case "exponential":
                return Exponential(delays[0], delays[1], wire.factor, wire.jitter)
            case "listed":
                return Listed(tuple(delays))
            case _:
                return None
    except (msgspec.MsgspecError, IndexError, OverflowError, ValueError):
        return None
