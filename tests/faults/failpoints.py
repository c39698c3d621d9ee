"""Places where a worker kills itself (F2): JOBPLANE_TEST_FAILPOINT="name:nth" dies at the nth time it gets there.

The product has no such places: its methods are wrapped here, in the worker's process, before it starts. What dies,
dies by SIGKILL: nothing is flushed, closed or said. Where a step has a moment before its commit and one after it, both
count as a time, so that odd numbers die before and even ones after.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from jobplane.job import Claim
from jobplane.outcome import Outcome, Released
from jobplane.store.schedules import ScheduleStore
from jobplane.store.store import Store
from jobplane.worker.executor import Executor


class Failpoint:
    """Counts how often its place was reached, and ends the process there."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def reached(self) -> None:
        """Here."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _wrap(owner: type, name: str, *, before: Failpoint | None = None, after: Failpoint | None = None) -> None:
    """Give a method places before and after it; the latter counts only if the method found something to do."""
    method: Callable[..., Awaitable[object]] = getattr(owner, name)

    async def call(*args: object, **kwargs: object) -> object:
        if before is not None:
            before.reached()
        answer = await method(*args, **kwargs)
        if after is not None and (answer or answer is None):
            after.reached()
        return answer

    setattr(owner, name, call)


def _after_claim_commit(point: Failpoint) -> None:
    _wrap(Store, "claim", after=point)


def _before_handler(point: Failpoint) -> None:
    _wrap(Executor, "_call", before=point)


def _after_handler(point: Failpoint) -> None:
    _wrap(Executor, "_call", after=point)


def _before_complete(point: Failpoint) -> None:
    _wrap(Store, "complete", before=point)


def _after_complete_commit(point: Failpoint) -> None:
    _wrap(Store, "complete", after=point)


def _in_heartbeat(point: Failpoint) -> None:
    _wrap(Store, "renew", before=point, after=point)


def _in_sweep(point: Failpoint) -> None:
    # Before it, the duty is taken and nothing done; after it, what was taken back is not announced.
    _wrap(Store, "rescue", before=point, after=point)


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


def _in_cron_tx(point: Failpoint) -> None:
    # Before it, the tick is decided on and not made; after it, made and not announced.
    _wrap(ScheduleStore, "tick", before=point, after=point)


_PLACES: Final[Mapping[str, Callable[[Failpoint], None]]] = {
    "after_claim_commit": _after_claim_commit,
    "before_handler": _before_handler,
    "after_handler": _after_handler,
    "before_complete": _before_complete,
    "after_complete_commit": _after_complete_commit,
    "in_heartbeat": _in_heartbeat,
    "in_sweep": _in_sweep,
    "in_cron_tx": _in_cron_tx,
    "in_release": _in_release,
}
NAMES: Final = tuple(_PLACES)


def install(spec: str) -> None:
    """Prepare this process to die at `name:nth`."""
    name, _, nth = spec.partition(":")
    _PLACES[name](Failpoint(int(nth or 1)))
