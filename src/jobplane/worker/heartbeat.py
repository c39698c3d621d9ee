"""Renews leases from a thread of its own, over a connection of its own.

A handler that blocks the event loop does not lose its jobs, and neither does a worker whose pool is busy. Only
jobs that are really held here are renewed: one that this process has forgotten runs out by itself.
"""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final
from uuid import UUID

from jobplane.events import DatabaseRecovered, Events, LoopBlocked, ServiceFailed
from jobplane.job import Claim
from jobplane.settings import DatabaseSettings, WorkerSettings
from jobplane.store.connecting import session_name
from jobplane.store.database import Database
from jobplane.store.store import LeaseReport, Store, WorkerCard
from jobplane.worker.signals import SIGNALS

RENEW_BATCH: Final = 1000
BLOCKED_AFTER: Final = 1.0
"""Seconds without a sign of the event loop that are worth a warning."""


class Heartbeat:
    """A thread that beats until it is stopped.

    Args:
        database: where to; the thread opens its own connection.
        settings: heartbeat_interval and lease.
        card: what to say of this worker.
        held: the claims of this worker, at this moment.
        lost: called with the id of a job that is no longer ours; in the heartbeat's thread.
        cancel_requested: called with id and epoch of the claims that someone wants stopped; in the heartbeat's thread.
        events: where to report failures.
    """

    def __init__(
        self,
        database: DatabaseSettings,
        settings: WorkerSettings,
        card: WorkerCard,
        held: Callable[[], Iterable[Claim]],
        lost: Callable[[UUID, int], None],
        cancel_requested: Callable[[Sequence[tuple[UUID, int]]], None],
        events: Events,
    ) -> None:
        self._database = database
        self._lease = settings.lease
        self._interval = settings.heartbeat_interval.total_seconds()
        self._card = card
        self._held = held
        self._lost = lost
        self._cancel_requested = cancel_requested
        self._events = events
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._beating: Callable[[], object] | None = None
        self.loop_seen_at = time.monotonic()
        """When the worker's event loop last ran, as it told us."""

    def start(self) -> None:
        """Begin to beat."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._main, name="jobplane heartbeat", daemon=True)
            self._thread.start()

    async def stop(self, seconds: float) -> None:
        """End the thread, whatever it waits for; wait for its end at most so long."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._stopping = True
        if (beating := self._beating) is not None:
            beating()
        await asyncio.to_thread(thread.join, seconds)

    def _main(self) -> None:
        # Signals are the main thread's: one that is delivered here would not interrupt a handler that blocks there.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        with suppress(asyncio.CancelledError):  # that is how it is stopped
            asyncio.run(self._beat_until_stopped())

    async def _beat_until_stopped(self) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None  # a coroutine always runs in one
        self._beating = partial(loop.call_soon_threadsafe, task.cancel)
        name = session_name("heartbeat", self._card.id)
        database = Database(self._database, size=1, application_name=name)
        store = Store(database)
        warned = failing = False
        try:
            while not self._stopping:
                warned = self._watch_loop(warned=warned)
                try:
                    pause = await asyncio.wait_for(self._beat(store), self._interval * 2)
                except Exception as error:  # noqa: BLE001 - a heartbeat goes on as long as its worker lives
                    pause, failing = self._interval / 4, True
                    self._events.emit(ServiceFailed("heartbeat", error, pause))
                else:
                    if failing:
                        failing = False
                        self._events.emit(DatabaseRecovered("heartbeat"))
                await asyncio.sleep(pause)
        finally:
            self._beating = None
            await database.close(0.2)

    async def _beat(self, store: Store) -> float:
        began = time.monotonic()
        held = _snapshot(self._held)
        skipped = False
        for start in range(0, len(held), RENEW_BATCH):
            old, fresh = self._parted(held[start : start + RENEW_BATCH])
            skipped |= await self._renew(store, old)
            if fresh and (requested := await store.cancel_requested(fresh)):
                self._cancel_requested(requested)
        await store.beat(self._card, len(held))
        pause = self._interval / 4 if skipped else self._interval
        return max(pause - (time.monotonic() - began), 0.01)

    def _parted(self, claims: list[Claim]) -> tuple[list[Claim], list[Claim]]:
        # Most jobs are over before their lease needs renewing: a fresh one can wait for the next beat.
        enough = time.monotonic() + self._lease.total_seconds() - self._interval * 0.9
        old = [claim for claim in claims if claim.lease_ends < enough]
        return old, [claim for claim in claims if claim.lease_ends >= enough]

    async def _renew(self, store: Store, claims: list[Claim]) -> bool:
        """Renew some claims; whether one was locked by someone, so that it must be tried again soon."""
        if not claims:
            return False
        sent = time.monotonic()
        reports = {(report.id, report.epoch): report for report in await store.renew(claims, self._lease)}
        for claim in claims:
            self._heed(claim, reports.get((claim.id, claim.epoch)), sent)
        requested = [key for key, report in reports.items() if report.ours and report.cancel_requested]
        if requested:
            self._cancel_requested(requested)
        return any(report.ours and not report.renewed for report in reports.values())

    def _heed(self, claim: Claim, report: LeaseReport | None, sent: float) -> None:
        if report is None or not report.ours:
            self._lost(claim.id, claim.epoch)
            return
        if report.renewed:
            claim.lease_ends = sent + self._lease.total_seconds()

    def _watch_loop(self, *, warned: bool) -> bool:
        silent = time.monotonic() - self.loop_seen_at
        if silent < BLOCKED_AFTER:
            return False
        if not warned:
            types = sorted({claim.type for claim in _snapshot(self._held)})
            self._events.emit(LoopBlocked(silent, types))
        return True


def _snapshot(held: Callable[[], Iterable[Claim]]) -> list[Claim]:
    # The worker's thread changes its collections while this thread walks them; a walk that met a change is repeated.
    while True:
        try:
            return list(held())
        except RuntimeError:
            continue
