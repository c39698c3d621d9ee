"""Worker: puts the services together, starts them, and stops them in order. What each does is in its own file."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from jobplane import forking
from jobplane.errors import ConfigurationError
from jobplane.events import Events, WorkerStarted, WorkerStopped, WorkerStopping
from jobplane.job import Claim
from jobplane.settings import DatabaseSettings, WorkerSettings, parse_queues, resolve
from jobplane.task import Registry
from jobplane.worker.crew import Crew
from jobplane.worker.signals import stop_on_signals
from jobplane.worker.slots import QueueSlots


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
        self.id = _new_id()
        """Of this process: in a forked child it is another."""
        self._slots = {name: QueueSlots(name, limit) for name, limit in self.queues.items()}
        self._stop_requested: asyncio.Event | None = None
        self._crew: Crew | None = None
        forking.renew_in_child(self._begin_afresh)

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
        forking.check_process()
        if self._crew is not None:
            return
        self._stop_requested = asyncio.Event()
        self._crew = Crew(
            self.id, self.registry, self._slots.values(), self.database_settings, self.settings, self.events
        )
        self._crew.start()
        self.events.emit(WorkerStarted(self.id, dict(self.queues), self.registry.types))

    async def stop(self, grace: float | None = None) -> None:
        """Claim nothing more, let running jobs finish for `grace` seconds (default settings.grace), hand back the rest."""
        crew, self._crew = self._crew, None
        if crew is None:
            return
        seconds = self.settings.grace.total_seconds() if grace is None else grace
        self.events.emit(WorkerStopping(self.id, crew.running_count(), seconds))
        released = await crew.stop(seconds)
        self.events.emit(WorkerStopped(self.id, released))

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _begin_afresh(self) -> None:
        # Two processes with one id would answer for each other's jobs, and for each other's crashes.
        self.id = _new_id()
        self._slots = {name: QueueSlots(name, limit) for name, limit in self.queues.items()}
        self._stop_requested = None
        crew, self._crew = self._crew, None
        if crew is not None:
            crew.abandon()

    def running_jobs(self) -> list[Claim]:
        """The jobs whose handlers run now."""
        return [running.claim for slots in self._slots.values() for running in slots.running.values()]

    @property
    def slots(self) -> Mapping[str, QueueSlots]:
        """The held jobs, by queue."""
        return self._slots


def _new_id() -> str:
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
