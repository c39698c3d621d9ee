"""The verbs as they meet in twos: each acts on rows that others act on too, batches in both orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

from jobplane.client import inserts, ops
from jobplane.errors import JobplaneError
from jobplane.failure import ErrorReport
from jobplane.job import Claim, NewJob
from jobplane.outcome import Cancelled, Completed, Failed, Outcome, Released, Rescheduled, Snoozed
from jobplane.settings import WorkerSettings
from jobplane.store.failures import sqlstate_of
from tests.models.ground import START, Session, after

LEASE: Final = timedelta(seconds=30)
ERROR: Final = ErrorReport("ValueError", "no")
DAY: Final = timedelta(days=1)
KEEP: Final = WorkerSettings(keep_completed=DAY, keep_failed=DAY, keep_cancelled=DAY)

# id: status, attempts, epoch, due, lease, key. All live in the queue "default"; times are seconds from START.
ROWS: Final[dict[int, tuple[str, int, int, int, int | None, str | None]]] = {
    1: ("pending", 0, 0, -30, None, "k1"),
    2: ("pending", 1, 1, -20, None, None),
    3: ("pending", 0, 0, -10, None, None),
    11: ("running", 1, 2, -40, 20, "k2"),
    12: ("running", 1, 1, -40, 20, None),
    13: ("running", 2, 2, -40, 20, None),
    21: ("running", 1, 1, -50, -5, None),
    22: ("running", 3, 3, -50, -5, None),
    23: ("running", 2, 4, -50, -5, None),
    31: ("completed", 1, 1, -900_000, None, None),
    32: ("failed", 3, 3, -900_000, None, "k3"),
    33: ("cancelled", 0, 0, -900_000, None, None),
}
HELD: Final = [number for number, row in ROWS.items() if row[0] == "running"]
MIDDLE: Final = UUID(int=13)
INSERT: Final = """
INSERT INTO control_plane.jobs (
    id, type, status, attempts, lease_epoch, scheduled_at, lease_expires_at, unique_key, worker_id, started_at,
    completed_at, created_at
)
SELECT id, 'work', status, attempts, epoch, $9::timestamptz + due * interval '1 second',
    $9 + lease * interval '1 second', key, CASE status WHEN 'running' THEN 'w1' END,
    CASE WHEN epoch > 0 THEN $9 - interval '1 minute' END,
    CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN $9 - interval '10 days' END, $10::timestamptz
FROM unnest($1::uuid[], $2::text[], $3::integer[], $4::bigint[], $5::float8[], $6::float8[], $7::text[], $8::text[])
    AS row (id, status, attempts, epoch, due, lease, key, unused)
"""


@dataclass(frozen=True)
class Operation:
    """One verb with its arguments.

    Attributes:
        act: does it on a session; the answer can be compared.
        skips: passes over rows that are locked instead of waiting for them.
        by_worker: runs in a worker's session, whose planner is told to walk indexes.
    """

    name: str
    act: Callable[[Session], Awaitable[object]]
    skips: bool = False
    by_worker: bool = True

    def __str__(self) -> str:
        return self.name

    async def __call__(self, session: Session) -> object:
        """Its answer, or the name of the error that the caller gets. A deadlock is nobody's answer."""
        try:
            return await self.act(session)
        except JobplaneError as error:
            state = sqlstate_of(error.__cause__) if error.__cause__ else None
            if state in {"40P01", "40001"}:
                raise
            return type(error).__name__


async def write_rows(session: Session) -> None:
    """The starting rows."""
    columns = zip(*ROWS.values(), strict=True)
    ids = [UUID(int=number) for number in ROWS]
    await session.connection.execute(INSERT, ids, *columns, [""] * len(ids), START, after(-86400))


def claims(order: int = 1, epochs_behind: int = 0) -> list[Claim]:
    """What the holder of the running rows remembers, in either order."""
    return [
        Claim(
            id=UUID(int=number),
            type="work",
            payload="{}",
            attempt=ROWS[number][1],
            max_attempts=3,
            epoch=ROWS[number][2] - epochs_behind,
            queue="default",
            priority=0,
            scheduled_at=START,
            created_at=START,
            started_at=START,
            unique_key=None,
            tags=(),
            progress=None,
            retry_policy=None,
        )
        for number in HELD[::order]
    ]


def _claim(limit: int, worker: str) -> Operation:
    async def act(session: Session) -> object:
        claimed = await session.store.claim("default", ["work"], worker, LEASE, limit)
        return [(claim.id.int, claim.epoch, claim.attempt) for claim in claimed]

    return Operation(f"claim {limit}", act, skips=True)


def _renew(order: int, behind: int = 0) -> Operation:
    async def act(session: Session) -> object:
        reports = await session.store.renew(claims(order, behind), LEASE)
        return sorted((r.id.int, r.epoch, r.renewed, r.ours, r.cancel_requested) for r in reports)

    return Operation(f"renew {_way(order)}{' stale' * behind}", act, skips=True)


def _isolate(behind: int = 0) -> Operation:
    async def act(session: Session) -> object:
        return await session.store.isolate(claims(1, behind)[0])

    return Operation(f"isolate{' stale' * behind}", act)


def _progress(order: int) -> Operation:
    async def act(session: Session) -> object:
        return _ids(await session.store.progress([(claim, "1") for claim in claims(order)]))

    return Operation(f"progress {_way(order)}", act, skips=True)


def _complete(order: int, behind: int = 0) -> Operation:
    async def act(session: Session) -> object:
        return _ids(await session.store.complete(claims(order, behind)))

    return Operation(f"complete {_way(order)}{' stale' * behind}", act)


def _finish(outcome: Outcome, order: int) -> Operation:
    async def act(session: Session) -> object:
        return _ids(await session.store.finish([(claim, outcome) for claim in claims(order)]))

    return Operation(f"finish {type(outcome).__name__} {_way(order)}", act)


async def _rescue(session: Session) -> object:
    return sorted((job_id.int, queue) for job_id, queue in await session.store.rescue())


async def _prune(session: Session) -> object:
    return await session.store.prune(KEEP)


def _cancel(number: int) -> Operation:
    async def act(session: Session) -> object:
        return await session.perform(ops.cancel(UUID(int=number)))

    return Operation(f"cancel {ROWS[number][0]} {number}", act, by_worker=False)


def _retry(number: int, extra: int) -> Operation:
    async def act(session: Session) -> object:
        return await session.perform(ops.retry(UUID(int=number), extra))

    return Operation(f"retry {ROWS[number][0]}", act, by_worker=False)


def _enqueue(name: str, *wishes: tuple[int, str | None]) -> Operation:
    async def act(session: Session) -> object:
        new = [
            NewJob(id=UUID(int=number), type="work", payload="{}", queue="mail", unique_key=key)
            for number, key in wishes
        ]
        results = await session.perform(inserts.insert(new))
        return [(result.id.int, result.existing) for result in results]

    return Operation(f"enqueue {name}", act, by_worker=False)


async def _pause(session: Session) -> object:
    return await session.perform(ops.pause_queue("default"))


async def _resume(session: Session) -> object:
    return await session.perform(ops.resume_queue("default"))


def _ids(found: set[UUID]) -> Sequence[int]:
    return sorted(job_id.int for job_id in found)


def _way(order: int) -> str:
    return "forwards" if order == 1 else "backwards"


BATCHES: Final = (
    _renew(1),
    _renew(-1),
    _progress(1),
    _complete(1),
    _complete(-1),
    _complete(-1, 1),
    _finish(Completed("1"), 1),
    _finish(Failed(ERROR), -1),
    _finish(Rescheduled(ERROR, timedelta(seconds=9)), 1),
    _finish(Snoozed(timedelta(0)), -1),
    _finish(Cancelled(ERROR), 1),
    _finish(Released(ERROR), -1),
    Operation("rescue", _rescue, skips=True),
)
INSERTS: Final = (
    _enqueue("keys forwards", (101, "a"), (102, "m"), (103, "z")),
    _enqueue("keys backwards", (113, "z"), (112, "m"), (111, "a")),
    _enqueue("ids forwards", (201, None), (202, None), (203, None)),
    _enqueue("ids backwards", (203, None), (202, None), (201, None)),
)
SINGLES: Final = (
    _claim(1, "w2"),
    _claim(9, "w3"),
    _renew(1, 1),
    _isolate(),
    _isolate(1),
    Operation("prune", _prune, skips=True),
    _cancel(1),
    _cancel(11),
    _cancel(21),
    _cancel(33),
    _retry(31, 0),
    _retry(32, 1),
    _enqueue("a key that waits", (104, "k1")),
    _enqueue("a key that runs", (105, "k2")),
    _enqueue("a key that ended", (106, "k3")),
    _enqueue("an id that ended", (31, None)),
    Operation("pause", _pause, by_worker=False),
    Operation("resume", _resume, by_worker=False),
)
EVERY: Final = (*SINGLES, *BATCHES, *INSERTS)
