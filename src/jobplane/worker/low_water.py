"""How far a queue has been claimed, so that a slow walk over the head of the polling index is not made for each claim.

While a transaction somewhere holds an old snapshot, the index entries of jobs that were claimed long ago cannot be
removed, and each claim that begins at the head walks over all of them. The same goes for waiting jobs that this worker
does not know. So when full claims are slow, they are followed by claims that go on behind the last claimed key of each
priority, and full ones come beside them (jobplane.worker.look_back): after ten times what the slow one cost, and never
later than a poll would come. Whatever appears before the marks (a late commit, a job that was handed back, a higher
priority that becomes due) waits for that. Where claims are quick there are no marks, and claims are in exact order.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from jobplane.job import Claim

SHARE: Final = 10.0
"""A full claim may take one part in so many of a claimer's time."""
WORTHWHILE: Final = 0.001
"""Seconds that a full claim must take beyond a good one, and at least twice as long: below that, marks save nothing."""
PER_JOB: Final = 0.000_02
"""Seconds that each claimed job may add to a good claim."""
SMOOTHING: Final = 0.1
"""The weight of the newest claim in what counts as a good one."""
LONGEST: Final = 1.0
"""Seconds for which anything may be passed over, where the poll interval is longer."""
MOST_PRIORITIES: Final = 32
Mark = tuple[datetime, UUID]


class ClaimTimes:
    """Learns from how long claims take whether full ones are slow."""

    def __init__(self) -> None:
        self._good: float | None = None
        """Seconds of a claim that walks over nothing: as those behind the marks, and as full ones on good days."""
        self._last = self._before = 0.0
        """What the last two full claims took beyond a good one, in seconds."""

    def learn(self, seconds: float, jobs: int, *, full: bool) -> None:
        """A claim took so long and brought so many jobs."""
        seconds -= PER_JOB * jobs
        if self._good is None:
            self._good = seconds
        elif not full or seconds < self._good:
            self._good += SMOOTHING * (seconds - self._good)
        if full:
            self._before, self._last = self._last, seconds - self._good

    def excess(self) -> float:
        """Seconds that a full claim takes beyond a good one; 0 where going on behind marks would save nothing."""
        # Twice in a row: once may have been a hiccup of the disk or of the network.
        excess = min(self._before, self._last)
        return 0.0 if excess < max(WORTHWHILE, self._good or 0.0) else excess


class LowWater:
    """The marks of one queue in one worker.

    Args:
        poll_interval: in seconds; nothing is passed over for longer.
        times: what decides whether full claims are slow. Default: a new ClaimTimes.
    """

    def __init__(self, poll_interval: float, times: ClaimTimes | None = None) -> None:
        self._longest = min(poll_interval, LONGEST)
        self._times = times or ClaimTimes()
        self._marks: dict[int, Mark] = {}
        self._full_due = 0.0

    def marks(self) -> list[tuple[int, Mark]]:
        """Where to go on in each priority, highest first; empty where each claim looks at everything."""
        return sorted(self._marks.items(), reverse=True)

    def full_is_due(self) -> bool:
        """Whether something must look at everything now."""
        return not self._marks or time.monotonic() >= self._full_due

    def look_begins(self) -> None:
        """A full claim is under way: the next is due some time after its end."""
        self._full_due = float("inf")

    def look_failed(self) -> float:
        """A full claim brought an error; returns after how many seconds the next is due."""
        self._full_due = time.monotonic() + self._longest
        return self._longest

    def seconds_until_full(self) -> float:
        """How long marks still hold; infinity when there are none, as the last claim has seen everything."""
        return max(self._full_due - time.monotonic(), 0.0) if self._marks else float("inf")

    def claimed(self, claims: Sequence[Claim], seconds: float | None, *, full: bool, filled: bool) -> None:
        """Learn from a claim.

        Args:
            claims: what it brought, in claim order.
            seconds: how long it took; None where other work is in that time, such as opening the connection.
            full: whether it looked at everything.
            filled: whether it brought as many as it was asked for, so that there may be more.
        """
        if seconds is not None:
            self._times.learn(seconds, len(claims), full=full)
        if full:
            excess = self._times.excess()
            if not excess:
                self._marks.clear()
                return
            self._full_due = time.monotonic() + min(SHARE * excess, self._longest)
            if filled:
                # It did not look at what comes after its last job, where old marks may hide something.
                self._marks.clear()
        elif not self._marks:
            return
        for claim in claims:
            mark = (claim.scheduled_at, claim.id)
            # What a full claim found far behind moves no mark back.
            self._marks[claim.priority] = max(self._marks.get(claim.priority, mark), mark)
        if len(self._marks) > MOST_PRIORITIES:
            self._marks.clear()
