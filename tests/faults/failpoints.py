"""Places where a worker kills itself (F2): JOBPLANE_TEST_FAILPOINT="name:nth" dies at the nth time it gets there.

The product has no such places: its methods are wrapped here, in the worker's process, before it starts. What dies,
dies by SIGKILL: nothing is flushed, closed or said. Where a step has a moment before its commit and one after it, both
count as a time, so that odd numbers die before and even ones after.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Concatenate, Final, ParamSpec, TypeAlias, TypeVar
from uuid import UUID

from jobplane.job import Claim
from jobplane.outcome import Outcome, Released
from jobplane.store.store import Store
from jobplane.worker.executor import Executor

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S")
Method: TypeAlias = Callable[Concatenate[S, P], Awaitable[T]]


class Failpoint:
    """Counts how often its place was reached, and ends the process there."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def reached(self) -> None:
        """Here."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def wrapped(
    method: Method[S, P, T], *, before: Failpoint | None = None, after: Failpoint | None = None
) -> Method[S, P, T]:
    """The method, with places before and after it; the latter counts only if it found something to do."""

    async def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        if before is not None:
            before.reached()
        answer = await method(self, *args, **kwargs)
        if after is not None and (answer or answer is None):
            after.reached()
        return answer

    return call


def _after_claim_commit(point: Failpoint) -> None:
    Store.claim = wrapped(Store.claim, after=point)  # type: ignore[method-assign]


def _before_handler(point: Failpoint) -> None:
    Executor._call = wrapped(Executor._call, before=point)  # type: ignore[method-assign]


def _after_handler(point: Failpoint) -> None:
    Executor._call = wrapped(Executor._call, after=point)  # type: ignore[method-assign]


def _before_complete(point: Failpoint) -> None:
    Store.complete = wrapped(Store.complete, before=point)  # type: ignore[method-assign]


def _after_complete_commit(point: Failpoint) -> None:
    Store.complete = wrapped(Store.complete, after=point)  # type: ignore[method-assign]


def _in_heartbeat(point: Failpoint) -> None:
    Store.renew = wrapped(Store.renew, before=point, after=point)  # type: ignore[method-assign]


def _in_sweep(point: Failpoint) -> None:
    # Before it, the duty is taken and nothing done; after it, what was taken back is not announced.
    Store.rescue = wrapped(Store.rescue, before=point, after=point)  # type: ignore[method-assign]


def _in_release(point: Failpoint) -> None:
    finish = Store.finish

    async def call(self: Store, ended: Sequence[tuple[Claim, Outcome]]) -> set[UUID]:
        released = any(isinstance(outcome, Released) for _, outcome in ended)
        if released:
            point.reached()
        ours = await finish(self, ended)
        if released:
            point.reached()
        return ours

    Store.finish = call  # type: ignore[method-assign]


_PLACES: Final[Mapping[str, Callable[[Failpoint], None]]] = {
    "after_claim_commit": _after_claim_commit,
    "before_handler": _before_handler,
    "after_handler": _after_handler,
    "before_complete": _before_complete,
    "after_complete_commit": _after_complete_commit,
    "in_heartbeat": _in_heartbeat,
    "in_sweep": _in_sweep,
    "in_release": _in_release,
}
NAMES: Final = tuple(_PLACES)


def install(spec: str) -> None:
    """Prepare this process to die at `name:nth`."""
    name, _, nth = spec.partition(":")
    _PLACES[name](Failpoint(int(nth or 1)))
