"""Hears notifications and passes them on: a queue's name wakes its claimer, `limit:<queue>` makes it ask for the
queue's limit, `cancel:<id>` reaches the handler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import UUID

from jobplane.events import Events
from jobplane.store.database import Database
from jobplane.store.listener import Listener
from jobplane.worker.claimer import Claimer
from jobplane.worker.service import Service

CANCEL = "cancel:"
LIMIT = "limit:"


class Ears(Service):
    """Keeps a LISTEN connection open. Without it jobs still start, at the next poll."""

    def __init__(
        self,
        database: Database,
        claimers: Mapping[str, Claimer],
        cancel_requested: Callable[[UUID], None],
        events: Events,
    ) -> None:
        super().__init__("listener", events)
        self._listener = Listener(database, self._heard)
        self._claimers = claimers
        self._cancel_requested = cancel_requested

    async def run_once(self) -> float:
        """Listen until the connection breaks."""
        await self._listener.listen()
        return 0.0

    def _heard(self, word: str | None) -> None:
        if word is None:
            self.recovered()
            for claimer in self._claimers.values():
                claimer.limit_changed()
        elif word.startswith(CANCEL):
            try:
                self._cancel_requested(UUID(word.removeprefix(CANCEL)))
            except ValueError:
                return  # anyone may notify on the channel; what is no id concerns nobody
        elif word.startswith(LIMIT):
            if (limited := word.removeprefix(LIMIT)) in self._claimers:
                self._claimers[limited].limit_changed()
        elif word in self._claimers:
            self._claimers[word].something_new()
