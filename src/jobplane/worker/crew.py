"""The crew of a worker: all services of one start-to-stop, how they are wired, and the order in which they stop."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from typing import Final
from uuid import UUID

from jobplane import forking
from jobplane.errors import DatabaseError
from jobplane.events import Events, JobLost
from jobplane.job import Claim
from jobplane.outcome import Released
from jobplane.settings import DatabaseSettings, WorkerSettings
from jobplane.store.connecting import session_name
from jobplane.store.database import Database
from jobplane.store.inherited import abandon
from jobplane.store.lane import Lane
from jobplane.store.pooler import past_pooler
from jobplane.store.schedules import ScheduleStore
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store, WorkerCard
from jobplane.task import Registry
from jobplane.version import __version__
from jobplane.worker.cancellations import Cancellations
from jobplane.worker.claimer import Claimer
from jobplane.worker.ears import Ears
from jobplane.worker.executor import Executor
from jobplane.worker.forked import end_child_of
from jobplane.worker.heartbeat import Heartbeat
from jobplane.worker.maintenance.pruner import Pruner
from jobplane.worker.maintenance.rescuer import Rescuer
from jobplane.worker.maintenance.scheduler import Scheduler
from jobplane.worker.progress import ProgressWriter
from jobplane.worker.reporter import Inbox, Reporter
from jobplane.worker.runner import Runner
from jobplane.worker.service import Service
from jobplane.worker.slots import QueueSlots, StopReason
from jobplane.worker.solitude import Solitude
from jobplane.worker.threads import Threads
from jobplane.worker.watchdog import Watchdog

REPORTERS: Final = 2
LAST_WORDS: Final = 0.5
"""Seconds beyond the grace period in which interrupted jobs are handed back."""
CLOSING: Final = 0.15
"""Seconds for closing connections in order."""
FINISH_CLAIM: Final = 0.5
"""Seconds to wait for the answer of a claim that is under way when the worker stops."""
POOL: Final = 3
"""Connections for progress, maintenance and goodbyes; claimers and reporters have their own."""


class Crew:
    """The services of one start-to-stop of a worker."""

    def __init__(
        self,
        worker_id: str,
        registry: Registry,
        slots: Iterable[QueueSlots],
        database: DatabaseSettings,
        settings: WorkerSettings,
        events: Events,
    ) -> None:
        self._worker_id = worker_id
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._slots = list(slots)
        self._database = Database(
            database,
            setup=WORKER_SESSION,
            size=POOL,
            retries=1,
            application_name=session_name("worker", worker_id),
        )
        self._store = Store(self._database)
        self._lanes: list[Lane] = []
        types = registry.types
        self._inbox = Inbox()
        self._progress = ProgressWriter(self._store, events)
        self._threads = Threads(settings.threads)
        executor = Executor(
            registry, self._threads, events, settings.timeout, settings.lease, self._progress.report
        )
        self._solitude = Solitude(
            self._slots, self._inbox, self._store, settings, self._is_claiming, self._wake_claimers, events
        )
        self._cancellations = Cancellations(self._slots, self._solitude, self._inbox, self._store, events)
        self._claimers = {
            slots.name: Claimer(
                slots,
                self._store_of_its_own(),
                self._store_of_its_own(),
                self._solitude,
                events,
                settings,
                worker_id,
                types,
            )
            for slots in self._slots
        }
        self._runners = [
            Runner(slots, executor, self._inbox, self._claimers[slots.name].slot_freed, events)
            for slots in self._slots
        ]
        card = WorkerCard(
            worker_id,
            socket.gethostname(),
            os.getpid(),
            __version__,
            {slots.name: slots.limit for slots in self._slots},
            tuple(types),
        )
        self._heartbeat = Heartbeat(
            database,
            settings,
            card,
            self._held,
            self._lost_from_thread,
            self._cancel_from_thread,
            events,
        )
        schedules = ScheduleStore(self._database)
        self._services: list[Service] = [
            *(
                Reporter(
                    f"reporter {number}",
                    self._inbox,
                    self._store_of_its_own(),
                    self._progress.write_for,
                    self._written,
                    events,
                )
                for number in range(REPORTERS)
            ),
            self._progress,
            self._solitude,
            self._cancellations,
            Watchdog(self._slots, settings.lease, self._loop_runs, events),
            *self._ears(),
            Rescuer(self._store, settings, worker_id, events),
            Pruner(self._store, schedules, settings, worker_id, events),
            Scheduler(schedules, self._store, events),
        ]

    def start(self) -> None:
        """Start everything; returns at once, also while the database is away."""
        self._heartbeat.start()
        for runner in self._runners:
            runner.start()
        for service in (*self._services, *self._claimers.values()):
            service.start()

    async def stop(self, grace: float) -> int:
        """Stop in order: first nothing new, then the handlers, then their outcomes, then the leases.

        Returns how many handlers were interrupted after `grace` seconds.
        """
        grace_ends = time.monotonic() + grace
        handed_back = self._hand_back_waiting()
        last_claims, _ = await asyncio.gather(self._stop_claiming(), self._until_idle(grace))
        handed_back += last_claims
        await self._until_idle(grace_ends - time.monotonic())
        interrupted = [running for slots in self._slots for running in slots.running.values()]
        # First those that wait for a thread: one that comes free must not begin another handler now.
        for running in sorted(interrupted, key=lambda each: each.begun):
            running.stop(StopReason.SHUTDOWN)
        end = time.monotonic() + LAST_WORDS
        await self._until_idle(LAST_WORDS / 2)
        await self._inbox.drained(max(grace_ends, end) - time.monotonic())
        await self._heartbeat.stop(CLOSING)  # a beat after the goodbye would bring the worker's row back
        await self._leave(
            wake_others=bool(interrupted or handed_back), seconds=max(end - time.monotonic(), 0.1)
        )
        await asyncio.gather(*(runner.stop() for runner in self._runners))
        # Should one of them still wait for the server: closing the connections ends that.
        await asyncio.wait(
            [asyncio.create_task(service.stop()) for service in self._services], timeout=CLOSING
        )
        self._threads.close()
        await asyncio.gather(self._database.close(CLOSING), *(lane.close(CLOSING) for lane in self._lanes))
        return len(interrupted)

    def abandon(self) -> None:
        """In a forked child: take no part in the parent's work."""
        forking.keep(self)
        for slots in self._slots:
            slots.waiting.clear()
            for running in slots.running.values():
                if running.context is not None:
                    running.context.renew_locks()
        abandon(self._loop)
        if self._loop.is_running() and self._thread == threading.get_ident():
            end_child_of(self._loop)

    def _written(self, claims: Sequence[Claim]) -> None:
        for claimer in self._claimers.values():
            claimer.written(claims)

    def _ears(self) -> list[Ears]:
        # Where only a pooler is known, there is nothing to listen on: jobs are found by polling.
        if past_pooler(self._database.settings) is None:
            return []
        return [Ears(self._database, self._claimers, self._cancellations.hint, self._events)]

    def _store_of_its_own(self) -> Store:
        # Who sends one statement after the other keeps a connection instead of asking the pool each time.
        lane = Lane(self._database)
        self._lanes.append(lane)
        return Store(self._database, lane)

    async def _stop_claiming(self) -> int:
        # A claim under way may have been committed: wait for its answer, or its jobs would wait for their leases.
        finishing = [claimer.finish_claim(FINISH_CLAIM) for claimer in self._claimers.values()]
        late = list(chain.from_iterable(await asyncio.gather(*finishing)))
        for claim in late:
            self._inbox.put(claim, Released())
        return len(late)

    def _hand_back_waiting(self) -> int:
        waiting = [slots.waiting.popleft() for slots in self._slots for _ in range(len(slots.waiting))]
        for claim in waiting:
            self._inbox.put(claim, Released())
        return len(waiting) + self._solitude.hand_back()

    def _is_claiming(self) -> bool:
        return any(claimer.is_claiming for claimer in self._claimers.values())

    def _wake_claimers(self) -> None:
        for claimer in self._claimers.values():
            claimer.something_new()

    async def _until_idle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(slots.running for slots in self._slots) and (left := end - time.monotonic()) > 0:
            idle = [asyncio.ensure_future(runner.job_ended.wait()) for runner in self._runners]
            for runner in self._runners:
                runner.job_ended.clear()
            await asyncio.wait(idle, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for waiting in idle:
                waiting.cancel()

    async def _leave(self, *, wake_others: bool, seconds: float) -> None:
        async def say_goodbye() -> None:
            if wake_others:
                for slots in self._slots:
                    await self._store.notify(slots.name)
            await self._store.leave(self._worker_id)

        # With the database away this cannot succeed: leases and the old heartbeat will tell.
        with suppress(TimeoutError, DatabaseError):
            await asyncio.wait_for(say_goodbye(), seconds)

    def running_count(self) -> int:
        """How many handlers run now."""
        return sum(len(slots.running) for slots in self._slots)

    # -- what the heartbeat sees and says --------------------------------------------------------------

    def _held(self) -> Iterator[Claim]:
        for slots in self._slots:
            yield from slots.held()
        yield from self._solitude.held()
        yield from self._inbox.held()

    def _loop_runs(self) -> None:
        self._heartbeat.loop_seen_at = time.monotonic()
        for runner in self._runners:
            runner.sweep()

    def _lost_from_thread(self, job_id: UUID, epoch: int) -> None:
        self._loop.call_soon_threadsafe(self._lose, job_id, epoch)

    def _cancel_from_thread(self, requested: Sequence[tuple[UUID, int]]) -> None:
        self._loop.call_soon_threadsafe(self._cancellations.stop_claims, requested)

    def _lose(self, job_id: UUID, epoch: int) -> None:
        self._solitude.lose(job_id, epoch)
        for slots in self._slots:
            running = slots.running.get(job_id)
            if running is not None and running.claim.epoch == epoch:
                running.stop(StopReason.LOST)
            for claim in [claim for claim in slots.waiting if claim.id == job_id and claim.epoch == epoch]:
                slots.waiting.remove(claim)
                self._events.emit(JobLost(claim, "it was taken back before it started"))
