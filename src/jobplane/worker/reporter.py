"""Gathers outcomes and writes them in batches, fenced by id and epoch.

Each batch holds what piled up while the last one was written: an idle worker reports at once, a busy one in
hundreds, without a timer. An outcome that cannot be written now is kept and tried again; whether it still counts
is for the row's epoch to say.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias
from uuid import UUID

from jobplane.errors import StatementError
from jobplane.events import Events, JobLost, JobsReported, ResultNotStored, ServiceFailed
from jobplane.failure import ErrorReport, message_of
from jobplane.job import Claim
from jobplane.outcome import Completed, Failed, Lost, Outcome
from jobplane.store.failures import is_lock_conflict
from jobplane.store.store import Store
from jobplane.worker.service import Service

MAX_BATCH: Final = 1000
LOOK_AGAIN: Final = 0.5
"""Seconds between two looks at a row that someone keeps locked."""
REFUSED: Final = "OutcomeRefused"
Ended: TypeAlias = tuple[Claim, Outcome]


class Reporter(Service):
    """Writes outcomes. Two of these share one inbox, so that one batch fills while another commits."""

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        store: Store,
        write_progress: Callable[[Iterable[Claim]], Awaitable[None]],
        written: Callable[[Sequence[Claim]], None],
        events: Events,
    ) -> None:
        super().__init__(name, events)
        self._written = written
        self._write_progress = write_progress
        self._inbox = inbox
        self._store = store
        self.busy = False
        """Writing, or waiting after a failure."""
        inbox.reporters.append(self)

    async def run_once(self) -> float:
        """Write one batch."""
        self.busy = True
        done, ended = self._inbox.take(MAX_BATCH)
        try:
            if again := self._inbox.take_aside():
                ended += again
                ended = await self._without_locked(ended)
            await self._write_progress([*done, *(claim for claim, _ in ended)])
            if done:
                await self._write(done, [])
                done = []
            if ended:
                await self._write([], ended)
                ended = []
        finally:
            # Whatever interrupted the writing, nothing that a handler decided is forgotten.
            self._inbox.put_back(done, ended)
        self.busy = False
        return 0.0 if self._inbox else 3600.0

    async def _write(self, done: list[Claim], ended: list[tuple[Claim, Outcome]]) -> None:
        try:
            ours = await (self._store.complete(done) if done else self._store.finish(ended))
        except StatementError as error:
            await self._write_apart([*((claim, Completed()) for claim in done), *ended], error)
            return
        claims = done or [claim for claim, _ in ended]
        self._inbox.forget(claims)
        if len(ours) < len(claims):
            for claim in claims:
                if claim.id not in ours:
                    self._events.emit(JobLost(claim, "its outcome was refused: the lease had passed on"))
        self._written(claims)
        self._events.emit(JobsReported(list(ours)))

    async def _write_apart(self, both: list[Ended], error: StatementError) -> None:
        # One row that cannot be written must not hold up the others.
        if is_lock_conflict(error):
            free = await self._without_locked(both)
            if len(free) == len(both):
                raise error  # nobody holds a lock any more: run_once keeps them for the next try
            self._events.emit(ServiceFailed(self.name, error, LOOK_AGAIN))
            if free:
                await self._write([], free)
        elif len(both) > 1:
            middle = len(both) // 2
            await self._write([], both[:middle])
            await self._write([], both[middle:])
        else:
            self._refused(*both[0], error)

    async def _without_locked(self, both: list[Ended]) -> list[Ended]:
        locked = await self._store.locked([claim for claim, _ in both])
        self._inbox.set_aside([(claim, outcome) for claim, outcome in both if claim.id in locked])
        return [(claim, outcome) for claim, outcome in both if claim.id not in locked]

    def _refused(self, claim: Claim, outcome: Outcome, error: StatementError) -> None:
        if isinstance(outcome, Failed) and outcome.error.type == REFUSED:
            # Not even this can be stored: let the lease run out, and the rescuer decide.
            self._inbox.forget([claim])
            self._events.emit(JobLost(claim, f"its outcome cannot be stored: {error}"))
        elif isinstance(outcome, Completed) and outcome.result is not None:
            # The handler's work is done, whatever becomes of what it returned.
            self._events.emit(ResultNotStored(claim, "the database refused it; last_error says why"))
            self._inbox.put(claim, Completed.without_result(message_of(str(error))))
        else:
            self._inbox.put(claim, Failed(ErrorReport(REFUSED, message_of(str(error)))))


class Inbox:
    """Outcomes that wait to be written, and those being written."""

    def __init__(self) -> None:
        self.reporters: list[Reporter] = []
        self.writing: dict[UUID, Claim] = {}
        """Claims whose outcome is not durable yet: heartbeats go on for them."""
        self._done: list[Claim] = []
        self._ended: list[tuple[Claim, Outcome]] = []
        self._aside: list[Ended] = []
        self._aside_due = False
        self._empty = asyncio.Event()
        self._next = 0

    def __bool__(self) -> bool:
        return bool(self._done or self._ended)

    def put(self, claim: Claim, outcome: Outcome) -> None:
        """Take over an outcome; returns at once."""
        if isinstance(outcome, Completed) and outcome.result is None and outcome.not_stored is None:
            self._done.append(claim)
        elif isinstance(outcome, Lost):
            return
        else:
            self._ended.append((claim, outcome))
        self.writing[claim.id] = claim
        if len(self._done) + len(self._ended) == 1:
            self._wake_next()

    def put_back(self, done: list[Claim], ended: list[tuple[Claim, Outcome]]) -> None:
        """What could not be written."""
        if not done and not ended:
            return
        aside = {claim.id for claim, _ in self._aside}
        unwritten = self.writing.keys() - aside
        self._done.extend(claim for claim in done if claim.id in unwritten)
        self._ended.extend((claim, outcome) for claim, outcome in ended if claim.id in unwritten)

    def set_aside(self, locked: list[Ended]) -> None:
        """What cannot be written while someone keeps its row locked: looked at again in a moment."""
        if locked:
            self._aside += locked
            asyncio.get_running_loop().call_later(LOOK_AGAIN, self._look_again)

    def take_aside(self) -> list[Ended]:
        """What was set aside and should be looked at again."""
        if not self._aside_due:
            return []
        self._aside_due = False
        aside, self._aside = self._aside, []
        return aside

    def forget(self, claims: Iterable[Claim]) -> None:
        """Claims whose outcomes are durable, or need not be."""
        writing = self.writing
        for claim in claims:
            if writing.get(claim.id) is claim:  # and not a later claim of the same job
                del writing[claim.id]
        if not writing:
            self._empty.set()

    def take(self, most: int) -> tuple[list[Claim], list[tuple[Claim, Outcome]]]:
        """The oldest of both kinds."""
        done, self._done = self._done[:most], self._done[most:]
        ended, self._ended = self._ended[:most], self._ended[most:]
        if self:
            self._wake_next()
        return done, ended

    def held(self) -> Iterator[Claim]:
        """All claims whose outcome is not durable yet."""
        yield from self.writing.values()

    async def drained(self, seconds: float) -> bool:
        """Wait until everything is written, at most so long."""
        end = time.monotonic() + seconds
        while self.writing and (left := end - time.monotonic()) > 0:
            self._empty.clear()
            for reporter in self.reporters:
                reporter.wake()
            try:
                await asyncio.wait_for(self._empty.wait(), left)
            except TimeoutError:
                break
        return not self.writing

    def _look_again(self) -> None:
        self._aside_due = True
        self._wake_next()

    def _wake_next(self) -> None:
        for _ in self.reporters:
            self._next = (self._next + 1) % len(self.reporters)
            if not self.reporters[self._next].busy:
                break
        if self.reporters:
            self.reporters[self._next].wake()
