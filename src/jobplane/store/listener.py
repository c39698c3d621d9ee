"""LISTEN on a connection of its own: reconnects by itself and hands out the words that arrive.

After each reconnect the callback is told None: something may have been missed, so look once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg

from jobplane.sql import channel, quoted
from jobplane.store.database import Database

PING_EVERY: Final = 5.0
"""Seconds between questions to the server: a half-open connection delivers nothing and closes nothing."""


class Listener:
    """Calls `heard(word)` for each notification, and `heard(None)` after each (re)connect."""

    def __init__(self, database: Database, heard: Callable[[str | None], None]) -> None:
        self._database = database
        self._heard = heard
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    async def listen(self) -> None:
        """Listen until the connection breaks, which raises; the caller decides when to come back."""
        connection = self._connection = await self._database.connect(past_pooler=True)
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _connection: gone.set())
            name = channel(self._database.settings.schema)
            await connection.add_listener(name, self._notified)
            self._heard(None)
            while not gone.is_set():
                try:
                    await asyncio.wait_for(gone.wait(), PING_EVERY)
                except TimeoutError:
                    await connection.fetch("SELECT 1", timeout=PING_EVERY)
            raise ConnectionResetError(f"the connection that listens on {quoted(name)} was closed")
        finally:
            self._connection = None
            connection.terminate()

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._heard(str(payload))
