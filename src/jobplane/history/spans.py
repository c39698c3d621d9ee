"""What jobs share: unique keys, the running places of a queue, its order. Sweeps over spans of time.

A change is recorded before its transaction commits, and what takes a place that another job has left can only be
written after that: so for places that the database guards, the order of the recorded times is the order of the changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias
from uuid import UUID

from jobplane.history.record import History, Transition
from jobplane.history.violations import OverLimit, PassedOver, SharedKey, Violation
from jobplane.job import JobStatus

_Rank: TypeAlias = tuple[int, datetime, int]
"""What claims go by: higher priorities first, then due times, then ids."""
_Spans: TypeAlias = "defaultdict[str, list[tuple[datetime, bool, UUID]]]"
"""By key or queue: when a job took it (True) or left it."""
BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
UNFINISHED: Final = frozenset({JobStatus.PENDING, JobStatus.RUNNING})
BLUR: Final = timedelta(seconds=1)
"""How far apart two things must be for their order to be certain: a statement sees what was there when it began, and
its changes are recorded when it ends."""


@dataclass(slots=True)
class _Waiting:
    since: datetime
    rank: _Rank
    group: tuple[str, str]


@dataclass(slots=True)
class Spans:
    """The spans of all jobs, gathered in one pass.

    Args:
        history: its limits and ordered_queues say which queues are gathered.
    """

    history: History
    _keys: _Spans = field(default_factory=lambda: defaultdict(list))
    _places: _Spans = field(default_factory=lambda: defaultdict(list))
    _waiting: dict[UUID, _Waiting] = field(default_factory=dict)
    _waits: dict[tuple[str, str], list[tuple[datetime, datetime, _Rank]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    _claims: dict[tuple[str, str], list[tuple[datetime, _Rank, UUID]]] = field(
        default_factory=lambda: defaultdict(list)
    )

    def take(self, was: Transition | None, now: Transition) -> None:
        """Look at a transition, and at the one before it of the same job."""
        known = now if was is None else was
        key = known.unique_key if now.before in UNFINISHED else None
        _move(self._keys, was, now, key, now.unique_key if now.after in UNFINISHED else None)
        if self.history.limits:
            place = self._limited(known.queue) if now.before is JobStatus.RUNNING else None
            next_place = self._limited(now.queue) if now.after is JobStatus.RUNNING else None
            _move(self._places, was, now, place, next_place)
        if now.queue in self.history.ordered_queues:
            self._take_order(now)

    def _limited(self, queue: str) -> str | None:
        return queue if queue in self.history.limits else None

    def check(self, end: datetime) -> Iterator[Violation]:
        """I14, I15 and I16; `end` is when the rows were read."""
        yield from self._shared_keys()
        yield from self._over_limits()
        yield from self._passed_over(end)

    def _take_order(self, now: Transition) -> None:
        group = (now.queue, now.type)
        rank = (-now.priority, now.scheduled_at, now.job_id.int)
        waiting = self._waiting.pop(now.job_id, None)
        if waiting is not None:
            self._waits[waiting.group].append((waiting.since, now.at, waiting.rank))
        if now.verb == "claim":
            self._claims[group].append((now.at, rank, now.job_id))
        if now.after is JobStatus.PENDING:
            self._waiting[now.job_id] = _Waiting(max(now.at, now.scheduled_at), rank, group)

    def _shared_keys(self) -> Iterator[Violation]:
        for key, changes in self._keys.items():
            holders: set[UUID] = set()
            # Ends before beginnings: what leaves and what comes may bear the same microsecond.
            for at, begins, job_id in sorted(changes):
                if not begins:
                    holders.discard(job_id)
                    continue
                others = holders - {job_id}
                holders.add(job_id)
                if others:
                    yield SharedKey(
                        job_id,
                        f"job {job_id} took the unique key {key!r} at {at} while {_some(others)} had it unfinished",
                    )

    def _over_limits(self) -> Iterator[Violation]:
        for queue, changes in self._places.items():
            limit = self.history.limits[queue]
            running: set[UUID] = set()
            for at, begins, job_id in sorted(changes):
                if not begins:
                    running.discard(job_id)
                    continue
                running.add(job_id)
                if len(running) > limit:
                    yield OverLimit(
                        job_id,
                        f"queue {queue} ran {len(running)} jobs at {at}, and its limit is {limit} (job {job_id})",
                    )

    def _passed_over(self, end: datetime) -> Iterator[Violation]:
        """Jobs that waited, due, while a later one of the same type was claimed: from a second after they were
        visible to a second before they were claimed themselves.
        """
        for waiting in self._waiting.values():
            self._waits[waiting.group].append((waiting.since, end, waiting.rank))
        for group, waits in self._waits.items():
            claims = sorted(self._claims.get(group, ()))
            # The latest ranks of the claims so far, falling: the first of them after a moment is the latest since then.
            falling: list[tuple[datetime, _Rank, UUID]] = []
            position = 0
            for since, until, rank in sorted(waits, key=lambda wait: wait[1]):
                while position < len(claims) and claims[position][0] < until - BLUR:
                    while falling and falling[-1][1] <= claims[position][1]:
                        falling.pop()
                    falling.append(claims[position])
                    position += 1
                found = bisect_left(falling, since + BLUR, key=lambda claim: claim[0])
                if found < len(falling) and falling[found][1] > rank:
                    at, _, other = falling[found]
                    job_id = UUID(int=rank[2])
                    yield PassedOver(
                        job_id,
                        f"job {job_id} waited in queue {group[0]} from {since} to {until}, but {other}, which comes "
                        f"after it, was claimed at {at}",
                    )


def _move(
    spans: _Spans, was: Transition | None, now: Transition, before: str | None, after: str | None
) -> None:
    # A job whose history begins in the middle had its key or place all along.
    if was is None and before is not None:
        spans[before].append((BEGINNING, True, now.job_id))
    if before == after:
        return
    if before is not None:
        spans[before].append((now.at, False, now.job_id))
    if after is not None:
        spans[after].append((now.at, True, now.job_id))


def _some(jobs: set[UUID]) -> str:
    return ", ".join(map(str, sorted(jobs)))
