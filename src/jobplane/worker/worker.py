"""Worker: puts the services together, starts them, and stops them in order. What each does is in its own file."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Final, Protocol, Self
from uuid import UUID

from jobplane.errors import ConfigurationError
from jobplane.events import Events, JobLost, WorkerStarted, WorkerStopped, WorkerStopping
from jobplane.job import Claim
from jobplane.outcome import Released
from jobplane.settings import DatabaseSettings, WorkerSettings, parse_queues, resolve
from jobplane.store.database import WORKER_SESSION, Database
from jobplane.store.store import Store, WorkerCard
from jobplane.task import Registry
from jobplane.version import __version__
from jobplane.worker.claimer import Claimer
from jobplane.worker.ears import Ears
from jobplane.worker.executor import Executor
from jobplane.worker.heartbeat import Heartbeat
from jobplane.worker.maintenance.pruner import Pruner
from jobplane.worker.maintenance.rescuer import Rescuer
from jobplane.worker.progress import ProgressWriter
from jobplane.worker.reporter import Inbox, Reporter
from jobplane.worker.runner import Runner
from jobplane.worker.service import Service
from jobplane.worker.signals import stop_on_signals
from jobplane.worker.slots import QueueSlots, StopReason
from jobplane.worker.threads import Threads
from jobplane.worker.watchdog import Watchdog

REPORTERS: Final = 2
LAST_WORDS: Final = 0.7
"""Seconds beyond the grace period in which interrupted jobs are handed back."""


class TaskSource(Protocol):
    """A JobQueue, seen from here: its tasks and its database."""

    @property
    def registry(self) -> Registry: ...

    @property
    def settings(self) -> DatabaseSettings: ...


class Worker:
    """Runs jobs until it is stopped.

    As a process: `await Worker(queue).run()`. Inside another program: `async with Worker(queue): ...`.

    Args:
        source: a JobQueue, or a Registry together with `database`.
        database: where to claim from; default: the source's.
        settings: everything at once; else single settings as keywords (see WorkerSettings), which win over
            JOBPLANE_* variables.
        explicit: settings by name, for example queues="default:20,slow:2" or grace=60.

    Raises:
        ConfigurationError: a setting is wrong or unknown, or no database is named.
    """

    def __init__(
        self,
        source: TaskSource | Registry,
        *,
        database: DatabaseSettings | None = None,
        settings: WorkerSettings | None = None,
        **explicit: object,
    ) -> None:
        self.registry = source if isinstance(source, Registry) else source.registry
        self.settings = settings or resolve(WorkerSettings, os.environ, **explicit).settings
        found = database or (None if isinstance(source, Registry) else source.settings)
        self.database_settings = found or resolve(DatabaseSettings, os.environ).settings
        if not self.database_settings.is_given:
            raise ConfigurationError("no database is configured: set DATABASE_URL, or pass database=")
        self.queues: Mapping[str, int] = parse_queues(self.settings.queues)
        self.events = Events()
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._slots = {name: QueueSlots(name, limit) for name, limit in self.queues.items()}
        self._stop_requested: asyncio.Event | None = None
        self._parts: _Parts | None = None

    async def run(self) -> None:
        """Work until SIGTERM, SIGINT or `request_stop()`; then stop in order and return."""
        await self.start()
        assert self._stop_requested is not None
        with stop_on_signals(self.request_stop):
            await self._stop_requested.wait()
            await self.stop()

    def request_stop(self) -> None:
        """Make `run` stop; returns at once."""
        if self._stop_requested is not None:
            self._stop_requested.set()

    async def start(self) -> None:
        """Start the services; returns at once, also while the database is away."""
        if self._parts is not None:
            return
        self._stop_requested = asyncio.Event()
        self._parts = _Parts(self)
        self._parts.start()
        self.events.emit(WorkerStarted(self.id, dict(self.queues), self.registry.types))

    async def stop(self, grace: float | None = None) -> None:
        """Claim nothing more, let running jobs finish for `grace` seconds (default settings.grace), hand back the rest."""
        parts, self._parts = self._parts, None
        if parts is None:
            return
        seconds = self.settings.grace.total_seconds() if grace is None else grace
        self.events.emit(WorkerStopping(self.id, parts.running_count(), seconds))
        released = await parts.stop(seconds)
        self.events.emit(WorkerStopped(self.id, released))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def running_jobs(self) -> list[Claim]:
        """The jobs whose handlers run now."""
        return [running.claim for slots in self._slots.values() for running in slots.running.values()]

    @property
    def slots(self) -> Mapping[str, QueueSlots]:
        """The held jobs, by queue."""
        return self._slots


class _Parts:
    """The services of one start-to-stop of a worker."""

    def __init__(self, worker: Worker) -> None:
        settings, events = worker.settings, worker.events
        self._worker = worker
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._slots = list(worker.slots.values())
        # One connection for each claimer and reporter, and two to spare for the rest.
        size = len(self._slots) + REPORTERS + 2
        self._database = Database(
            worker.database_settings,
            setup=WORKER_SESSION,
            size=size,
            retries=1,
            application_name="jobplane worker",
        )
        self._store = Store(self._database)
        self._inbox = Inbox()
        self._progress = ProgressWriter(self._store, events)
        self._threads = Threads(settings.threads)
        executor = Executor(worker.registry, self._threads, events, settings.timeout, self._progress.report)
        self._claimers = {
            slots.name: Claimer(slots, self._store, events, settings, worker.id, worker.registry.types)
            for slots in self._slots
        }
        self._runners = [
            Runner(slots, executor, self._inbox, self._claimers[slots.name].slot_freed)
            for slots in self._slots
        ]
        card = WorkerCard(
            worker.id,
            socket.gethostname(),
            os.getpid(),
            __version__,
            dict(worker.queues),
            tuple(worker.registry.types),
        )
        self._heartbeat = Heartbeat(
            worker.database_settings,
            settings,
            card,
            self._held,
            self._lost_from_thread,
            self._cancel_from_thread,
            events,
        )
        self._services: list[Service] = [
            *(
                Reporter(f"reporter {number}", self._inbox, self._store, events)
                for number in range(REPORTERS)
            ),
            self._progress,
            Watchdog(self._slots, self._loop_runs, events),
            Ears(self._database, self._claimers, self._cancel, events),
            Rescuer(self._store, settings, worker.id, events),
            Pruner(self._store, settings, worker.id, events),
        ]

    def start(self) -> None:
        self._heartbeat.start()
        for runner in self._runners:
            runner.start()
        for service in (*self._services, *self._claimers.values()):
            service.start()

    async def stop(self, grace: float) -> int:
        """The order matters: first nothing new, then the handlers, then their outcomes, then the leases."""
        await self._stop_claiming()
        for slots in self._slots:
            while slots.waiting:
                self._inbox.put(slots.waiting.popleft(), Released())
        await self._until_idle(grace)
        interrupted = [running for slots in self._slots for running in slots.running.values()]
        for running in interrupted:
            running.stop(StopReason.SHUTDOWN)
        end = time.monotonic() + LAST_WORDS
        await self._until_idle(LAST_WORDS / 2)
        await self._inbox.drained(max(end - time.monotonic(), 0.1))
        await self._leave(interrupted=bool(interrupted), seconds=max(end - time.monotonic(), 0.1))
        for runner in self._runners:
            await runner.stop()
        for service in self._services:
            await service.stop()
        await self._heartbeat.stop(0.3)
        self._threads.close()
        await self._database.close()
        return len(interrupted)

    async def _stop_claiming(self) -> None:
        # A claim under way may have been committed: wait for its answer, or its jobs would wait for their leases.
        for claimer in self._claimers.values():
            claimer.closed = True
        await asyncio.gather(*(claimer.finish_claim(1.0) for claimer in self._claimers.values()))

    async def _until_idle(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while any(slots.running for slots in self._slots) and (left := end - time.monotonic()) > 0:
            idle = [asyncio.ensure_future(runner.job_ended.wait()) for runner in self._runners]
            for runner in self._runners:
                runner.job_ended.clear()
            await asyncio.wait(idle, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            for waiting in idle:
                waiting.cancel()

    async def _leave(self, *, interrupted: bool, seconds: float) -> None:
        async def say_goodbye() -> None:
            if interrupted:
                for slots in self._slots:
                    await self._store.notify(slots.name)
            await self._store.leave(self._worker.id)

        # With the database away this cannot succeed: leases and the old heartbeat will tell.
        await asyncio.wait({asyncio.create_task(say_goodbye())}, timeout=seconds)

    def running_count(self) -> int:
        return sum(len(slots.running) for slots in self._slots)

    # -- what the heartbeat sees and says --------------------------------------------------------------

    def _held(self) -> Iterator[Claim]:
        for slots in self._slots:
            yield from slots.held()
        yield from self._inbox.held()

    def _loop_runs(self) -> None:
        self._heartbeat.loop_seen_at = time.monotonic()

    def _lost_from_thread(self, job_id: UUID, epoch: int) -> None:
        self._loop.call_soon_threadsafe(self._lose, job_id, epoch)

    def _cancel_from_thread(self, job_id: UUID) -> None:
        self._loop.call_soon_threadsafe(self._cancel, job_id)

    def _lose(self, job_id: UUID, epoch: int) -> None:
        for slots in self._slots:
            running = slots.running.get(job_id)
            if running is not None and running.claim.epoch == epoch:
                running.stop(StopReason.LOST)
            for claim in [claim for claim in slots.waiting if claim.id == job_id and claim.epoch == epoch]:
                slots.waiting.remove(claim)
                self._events.emit(JobLost(claim, "it was taken back before it started"))

    def _cancel(self, job_id: UUID) -> None:
        for slots in self._slots:
            if (running := slots.running.get(job_id)) is not None:
                running.stop(StopReason.CANCELLED)
