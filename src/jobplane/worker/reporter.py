"""Gathers outcomes and writes them in batches, fenced by id and epoch.

Each batch holds what piled up while the last one was written: an idle worker reports at once, a busy one in
hundreds, without a timer. An outcome that cannot be written now is kept and tried again until its lease is over.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final
from uuid import UUID

from jobplane.errors import StatementError
from jobplane.events import Events, JobLost, JobsReported
from jobplane.failure import ErrorReport
from jobplane.job import Claim
from jobplane.outcome import Completed, Failed, Lost, Outcome
from jobplane.store.store import Store
from jobplane.worker.service import Service

MAX_BATCH: Final = 1000


class Reporter(Service):
    """Writes outcomes. Two of these share one inbox, so that one batch fills while another commits."""

    def __init__(
        self,
        name: str,
        inbox: Inbox,
        store: Store,
        write_progress: Callable[[Iterable[Claim]], Awaitable[None]],
        events: Events,
    ) -> None:
        super().__init__(name, events)
        self._write_progress = write_progress
        self._inbox = inbox
        self._store = store
        inbox.reporters.append(self)

    async def run_once(self) -> float:
        """Write one batch."""
        done, ended = self._inbox.take(MAX_BATCH)
        try:
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
        return 0.0 if self._inbox else 3600.0

    async def _write(self, done: list[Claim], ended: list[tuple[Claim, Outcome]]) -> None:
        try:
            ours = await (self._store.complete(done) if done else self._store.finish(ended))
        except StatementError as error:
            await self._write_apart(done, ended, error)
            return
        claims = done or [claim for claim, _ in ended]
        for claim in claims:
            self._inbox.writing.pop(claim.id, None)
            if claim.id not in ours:
                self._events.emit(JobLost(claim, "its outcome was refused: the lease had passed on"))
        self._events.emit(JobsReported([claim.id for claim in claims if claim.id in ours]))
        self._inbox.written()

    async def _write_apart(
        self, done: list[Claim], ended: list[tuple[Claim, Outcome]], error: StatementError
    ) -> None:
        # One row that cannot be written (or that someone keeps locked) must not hold up the others.
        both: list[tuple[Claim, Outcome]] = [*((claim, Completed()) for claim in done), *ended]
        if len(both) > 1:
            middle = len(both) // 2
            await self._write([], both[:middle])
            await self._write([], both[middle:])
            return
        claim, outcome = both[0]
        if time.monotonic() > claim.lease_ends:
            self._inbox.writing.pop(claim.id, None)
            self._events.emit(
                JobLost(claim, f"its outcome could not be written before the lease ended: {error}")
            )
        elif isinstance(outcome, Completed) and outcome.result is not None:
            self._inbox.put(claim, Failed(ErrorReport("ResultRefused", str(error))))
        else:
            raise error  # run_once keeps it for the next try


class Inbox:
    """Outcomes that wait to be written, and those being written."""

    def __init__(self) -> None:
        self.reporters: list[Reporter] = []
        self.writing: dict[UUID, Claim] = {}
        """Claims whose outcome is not durable yet: heartbeats go on for them."""
        self._done: list[Claim] = []
        self._ended: list[tuple[Claim, Outcome]] = []
        self._empty = asyncio.Event()
        self._next = 0

    def __bool__(self) -> bool:
        return bool(self._done or self._ended)

    def put(self, claim: Claim, outcome: Outcome) -> None:
        """Take over an outcome; returns at once."""
        if isinstance(outcome, Lost):
            return
        self.writing[claim.id] = claim
        if isinstance(outcome, Completed) and outcome.result is None:
            self._done.append(claim)
        else:
            self._ended.append((claim, outcome))
        if len(self._done) + len(self._ended) == 1:
            self._wake_next()

    def put_back(self, done: list[Claim], ended: list[tuple[Claim, Outcome]]) -> None:
        """What could not be written."""
        self._done.extend(claim for claim in done if claim.id in self.writing)
        self._ended.extend((claim, outcome) for claim, outcome in ended if claim.id in self.writing)

    def take(self, most: int) -> tuple[list[Claim], list[tuple[Claim, Outcome]]]:
        """The oldest of both kinds."""
        done, self._done = self._done[:most], self._done[most:]
        ended, self._ended = self._ended[:most], self._ended[most:]
        if self:
            self._wake_next()
        return done, ended

    def written(self) -> None:
        """A batch is durable."""
        if not self.writing:
            self._empty.set()

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

    def _wake_next(self) -> None:
        if self.reporters:
            self._next = (self._next + 1) % len(self.reporters)
            self.reporters[self._next].wake()
