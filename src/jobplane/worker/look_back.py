"""The claim that looks at everything, beside those that go on behind their marks (decisions/0008).

It has a connection of its own: the walk over what a held snapshot leaves at the head of the index takes longer and
longer, and nobody should wait for it but the few jobs that only it finds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from jobplane.events import Events, ServiceFailed
from jobplane.job import Claim
from jobplane.worker.low_water import LowWater


class LookBack:
    """At most one look at a time.

    Args:
        name: of the claimer, for events.
        claim: a full claim of up to so many jobs; returns them and how many seconds it took, None if not known.
        hand_over: called with what it brought, in the end also where that is nothing.
        low_water: whose marks it checks.
    """

    def __init__(
        self,
        name: str,
        claim: Callable[[int], Awaitable[tuple[list[Claim], float | None]]],
        hand_over: Callable[[list[Claim]], None],
        low_water: LowWater,
        events: Events,
    ) -> None:
        self._name = name
        self._claim = claim
        self._hand_over = hand_over
        self._low_water = low_water
        self._events = events
        self._task: asyncio.Task[None] | None = None
        self.asked = 0
        """How many jobs the look that is under way may bring."""

    @property
    def under_way(self) -> bool:
        """Whether jobs may come from it."""
        return self._task is not None

    def begin(self, asked: int) -> None:
        """Look for up to so many jobs; returns at once."""
        self.asked = asked
        self._low_water.look_begins()
        self._task = asyncio.create_task(self._look(asked), name=f"jobplane {self._name} looks back")

    async def ended(self) -> None:
        """Wait for the look that is under way, if one is."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """Give up the look that is under way; what it claimed comes back by its leases."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.1)

    async def _look(self, asked: int) -> None:
        claims: list[Claim] = []
        try:
            claims, seconds = await self._claim(asked)
        except Exception as error:  # noqa: BLE001 - reported as an event; the next look is due as ever
            pause = self._low_water.look_failed()
            self._events.emit(ServiceFailed(self._name, error, pause))
        else:
            filled = len(claims) == asked
            self._low_water.claimed(claims, seconds, full=True, filled=filled)
        finally:
            self._task, self.asked = None, 0
        self._hand_over(claims)
