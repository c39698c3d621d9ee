"""One timer for all deadlines: stops handlers that run too long, and those whose lease is about to end.

A timer for each job would cost more than most jobs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from jobplane.events import Events
from jobplane.worker.service import Service
from jobplane.worker.slots import QueueSlots, StopReason, safety_margin

TICK: Final = 0.1
"""Seconds between two looks: how late a deadline may be noticed."""


class Watchdog(Service):
    """Looks at every running job, ten times a second."""

    def __init__(
        self, slots: Iterable[QueueSlots], lease: timedelta, alive: Callable[[], None], events: Events
    ) -> None:
        super().__init__("watchdog", events)
        self._margin = safety_margin(lease)
        self._slots = list(slots)
        self._alive = alive

    async def run_once(self) -> float:
        """Stop what is over its time."""
        self._alive()
        now = time.monotonic()
        for slots in self._slots:
            for running in list(slots.running.values()):
                if now >= running.claim.lease_ends - self._margin:
                    running.stop(StopReason.LOST)
                elif now >= running.deadline and running.stop_reason is not StopReason.TIMEOUT:
                    running.stop(StopReason.TIMEOUT)
        return TICK
