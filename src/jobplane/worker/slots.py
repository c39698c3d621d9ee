"""The jobs that this worker holds: claimed and waiting for a runner, or running. What heartbeats renew.

A job is in exactly one place: `waiting` until a runner takes it, then `running`, then with the reporter until
its outcome is written. Heartbeats renew all three; nothing else keeps a lease alive.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from enum import Enum
from typing import Final
from uuid import UUID

from msgspec import Struct

from jobplane.context import JobContext
from jobplane.job import Claim

PACE_WINDOW: Final = 1.0
"""Seconds over which a queue's pace is measured."""
SAFETY_SHARE: Final = 0.1
"""The share of a lease before whose end the holder lets go: in that time its handler unwinds."""
HEED_WITHIN: Final = 10.0
"""Seconds that a handler may take to end after it was told to."""


class StopReason(Enum):
    """Why a running handler is told to stop."""

    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    LOST = "lost"
    SHUTDOWN = "shutdown"


class Running(Struct):
    """A handler at work."""

    claim: Claim
    task: asyncio.Task[None] | None
    """The job's own task, to be cancelled; None while a synchronous handler is in its thread, which can only be told."""
    deadline: float
    """By the monotonic clock, in seconds; infinity without a timeout."""
    started: float
    begun: bool = False
    """Whether the handler has made its first step, in its task or thread; until then its attempt can be given back."""
    context: JobContext | None = None
    stop_reason: StopReason | None = None
    stopped_at: float = math.inf
    """When it was told to stop, by the monotonic clock."""
    give_up: Callable[[], None] | None = None
    """For a synchronous handler: stops waiting for its thread. May be called again."""
    thread_ended: asyncio.Event | None = None
    """For a synchronous handler that was given up: set when its thread has come to the end of it after all."""

    def stop(self, reason: StopReason) -> None:
        """Tell the handler to stop; the first reason stands."""
        first = self.stop_reason is None
        if first:
            self.stop_reason = reason
            self.stopped_at = time.monotonic()
            if self.context is not None:
                self.context.tell_to_stop()
        if self.give_up is not None and reason is not StopReason.CANCELLED:
            self.give_up()  # also a thread that was only told of its cancellation before
        elif self.task is not None and first:
            self.task.cancel()


def safety_margin(lease: timedelta) -> float:
    """Seconds before the end of a lease at which its holder lets go of the job."""
    return lease.total_seconds() * SAFETY_SHARE


class QueueSlots:
    """The waiting and running jobs of one queue."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.waiting: deque[Claim] = deque()
        self.running: dict[UUID, Running] = {}
        self.on_put: Callable[[], None] | None = None
        """Called when claimed jobs were handed over: starts what has room."""
        self._window_start = time.monotonic()
        self._finished = 0
        self.pace = 0.0
        """Jobs finished per second, lately."""

    def room(self, prefetch: float) -> int:
        """How many jobs to claim now: the free slots, and what `prefetch` seconds of the present pace will free."""
        return self.limit + int(self.pace * prefetch) - len(self.waiting) - len(self.running)

    def put(self, claims: list[Claim]) -> None:
        """Hand claimed jobs over, to be run in this order as slots are free."""
        self.waiting.extend(claims)
        if self.on_put is not None:
            self.on_put()

    def take_waiting(self, wanted: Collection[tuple[UUID, int]]) -> list[Claim]:
        """Take out the waiting claims of these job ids and epochs."""
        taken: list[Claim] = []
        for _ in range(len(self.waiting)):
            claim = self.waiting.popleft()
            (taken if (claim.id, claim.epoch) in wanted else self.waiting).append(claim)
        return taken

    def count_finished(self) -> None:
        """One more job is done."""
        self._finished += 1

    def measure_pace(self) -> None:
        """Take the pace of the window that has passed, if it has."""
        now = time.monotonic()
        elapsed = now - self._window_start
        # A quick queue needs its pace soon, or it would claim in slots-sized batches for a whole second.
        if elapsed >= PACE_WINDOW or (self._finished > 10 * self.limit and elapsed > 0.02):
            self.pace = self._finished / elapsed
            self._window_start, self._finished = now, 0

    def held(self) -> Iterator[Claim]:
        """All claims that wait or run here and whose leases are worth renewing.

        A handler that ignores its cancellation keeps its slot, but not its job: that goes to others.
        """
        yield from self.waiting
        stubborn = time.monotonic() - HEED_WITHIN
        for running in self.running.values():
            if running.stopped_at > stubborn:
                yield running.claim
