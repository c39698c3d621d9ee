"""F30: two operations on two connections end as if one came after the other, and never in a deadlock (I5, I12, I15).

The first stands in an open transaction while the second is sent; what the second does then (waits for a lock, passes
over locked rows, or ends) is read from the server, not from a clock. Then the first commits or rolls back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from uuid import UUID

import pytest

from jobplane.store.session import CLIENT_SESSION, WORKER_SESSION
from tests.models.ground import EMPTY, Loop, Session
from tests.models.moves import ATTEMPTS, COLUMNS
from tests.models.operations import BATCHES, EVERY, INSERTS, MIDDLE, Operation, write_rows

Ended: TypeAlias = tuple[object, object, object]
"""The first's answer, the second's, and the rows."""
STATE: Final = (
    f"SELECT {COLUMNS} FROM control_plane.jobs ORDER BY id",
    f"SELECT {ATTEMPTS} FROM control_plane.job_attempts ORDER BY job_id, epoch",
    "SELECT name, paused_at FROM control_plane.queues ORDER BY name",
)


@dataclass
class Ring:
    """Two opponents, each with a worker's and a client's session, and one who watches."""

    watcher: Session
    first: tuple[Session, Session]
    second: tuple[Session, Session]
    known: dict[tuple[object, ...], tuple[list[object], object]] = field(default_factory=dict)

    async def reset(self) -> None:
        """The starting rows, and nothing else."""
        await self.watcher.connection.execute(EMPTY)
        await write_rows(self.watcher)

    async def rows(self) -> object:
        """All that there is now."""
        return [list(map(tuple, await self.watcher.connection.fetch(query))) for query in STATE]

    async def serial(self, first: Operation, second: Operation) -> list[Ended]:
        """How the two may end: the one before the other, or the other before the one."""
        forth, rows = await self.in_turn(first, second)
        back, other_rows = await self.in_turn(second, first)
        return [(forth[0], forth[1], rows), (back[1], back[0], other_rows)]

    async def in_turn(self, *order: Operation) -> tuple[list[object], object]:
        """The answers, and the rows."""
        if order not in self.known:
            await self.reset()
            answers = [await operation(_of(self.second, operation)) for operation in order]
            self.known[order] = answers, await self.rows()
        return self.known[order]

    async def passing_over(self, held: Operation, passing: Operation, *, then: bool) -> Ended:
        """As if `passing` came first, but found the rows that `held` changes locked; `held` follows, or never does."""
        changed = await self._changed_by(held)
        await self.reset()
        connection = self.watcher.connection
        async with connection.transaction():
            await connection.execute("SELECT FROM control_plane.jobs WHERE id = ANY ($1) FOR UPDATE", changed)
            answer = await passing(_of(self.second, passing))
        return await held(_of(self.first, held)) if then else None, answer, await self.rows()

    async def settled(self, task: asyncio.Task[object], session: Session) -> bool:
        """Wait until the server says that the task's statement waits for a lock, or it has ended; whether it waits."""
        query = "SELECT cardinality(pg_blocking_pids($1)) > 0"
        while not task.done():
            if await self.watcher.connection.fetchval(query, session.pid):
                return True
            await asyncio.wait({task}, timeout=0.002)
        return False

    async def _changed_by(self, operation: Operation) -> list[UUID]:
        query = "SELECT id, jobs::text FROM control_plane.jobs"
        await self.reset()
        before = dict(map(tuple, await self.watcher.connection.fetch(query)))
        await operation(_of(self.first, operation))
        after = dict(map(tuple, await self.watcher.connection.fetch(query)))
        return [job_id for job_id, row in before.items() if after.get(job_id) != row]


@pytest.fixture(scope="module")
def ring(ground_url: str, loop: Loop) -> Iterator[Ring]:
    """Five connections to the models' database."""

    def opponents() -> tuple[Session, Session]:
        return loop(Session.open(ground_url, WORKER_SESSION)), loop(Session.open(ground_url, CLIENT_SESSION))

    ring = Ring(loop(Session.open(ground_url, CLIENT_SESSION)), opponents(), opponents())
    yield ring
    for session in (ring.watcher, *ring.first, *ring.second):
        loop(session.connection.close())


@pytest.mark.parametrize("second", EVERY, ids=str)
@pytest.mark.parametrize("first", EVERY, ids=str)
def test_what_begins_while_another_is_under_way_ends_as_if_it_came_before_or_after(
    ring: Ring, loop: Loop, first: Operation, second: Operation
) -> None:
    async def meet(end: str) -> Ended:
        await ring.reset()
        mine, theirs = _of(ring.first, first), _of(ring.second, second)
        await mine.connection.execute("BEGIN")
        answer = await first(mine)
        sent = asyncio.create_task(_answer(second, theirs))
        waits = await ring.settled(sent, theirs)
        await mine.connection.execute(end)
        assert not (waits and second.skips), f"{second} waited for a lock"
        return answer if end == "COMMIT" else None, await asyncio.wait_for(sent, 10), await ring.rows()

    async def check() -> None:
        orders = await ring.serial(first, second)
        (answer,), rows = await ring.in_turn(second)
        alone: list[Ended] = [(None, answer, rows)]
        if second.skips:
            orders.append(await ring.passing_over(first, second, then=True))
            alone.append(await ring.passing_over(first, second, then=False))

        assert await meet("COMMIT") in orders
        assert await meet("ROLLBACK") in alone

    loop(check())


@pytest.mark.parametrize("second", BATCHES, ids=str)
@pytest.mark.parametrize("first", BATCHES, ids=str)
def test_batches_that_are_both_stopped_in_the_middle_do_not_block_each_other(
    ring: Ring, loop: Loop, first: Operation, second: Operation
) -> None:
    """Someone holds a row in the middle of both; when it is free, each wants what the other has locked."""
    lock = f"SELECT FROM control_plane.jobs WHERE id = '{MIDDLE}' FOR UPDATE"

    loop(_meet_in_the_middle(ring, first, second, lock))


@pytest.mark.parametrize("second", INSERTS, ids=str)
@pytest.mark.parametrize("first", INSERTS, ids=str)
def test_enqueued_batches_that_share_keys_do_not_block_each_other(
    ring: Ring, loop: Loop, first: Operation, second: Operation
) -> None:
    """Someone is about to write a job in the middle of both, and does not."""
    lock = f"INSERT INTO control_plane.jobs (id, type, unique_key) VALUES ('{UUID(int=202)}', 'work', 'm')"

    loop(_meet_in_the_middle(ring, first, second, lock))


async def _meet_in_the_middle(ring: Ring, first: Operation, second: Operation, lock: str) -> None:
    orders = await ring.serial(first, second)
    await ring.reset()
    sides = (_of(ring.first, first), first), (_of(ring.second, second), second)
    gate = await Session.open(str(ring.watcher.database.settings.url), CLIENT_SESSION)
    await gate.connection.execute(f"BEGIN; {lock}")
    tasks = []
    for session, operation in sides:
        tasks.append(asyncio.create_task(_answer(operation, session)))
        waits = await ring.settled(tasks[-1], session)
        assert not (waits and operation.skips), f"{operation} waited for a lock"

    await gate.connection.execute("ROLLBACK")
    answers = await asyncio.wait_for(asyncio.gather(*tasks), 10)
    await gate.connection.close()

    if not first.skips and not second.skips:
        assert (answers[0], answers[1], await ring.rows()) in orders


def _of(opponent: tuple[Session, Session], operation: Operation) -> Session:
    return opponent[0] if operation.by_worker else opponent[1]


async def _answer(operation: Operation, session: Session) -> object:
    return await operation(session)
