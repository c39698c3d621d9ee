"""LISTEN on a connection of its own: reconnects by itself and hands out the words that arrive.

After each reconnect the callback is told None: something may have been missed, so look once.

The listener also speaks for the other connections of its database: it asks the server something small again and
again, and when no answer comes, the network is taken for broken, and all connections are given up. A limit for each
statement would do that too, but would also end those that are merely slow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import asyncpg

from jobplane.sql import channel, quoted
from jobplane.store.database import Database

PING: Final = "SELECT 1 AS still_listening"
PING_EVERY, ANSWER_WITHIN = 0.35, 0.6
"""Shares of settings.network_timeout: a half-open connection delivers nothing and closes nothing."""


class Listener:
    """Calls `heard(word)` for each notification, and `heard(None)` after each (re)connect."""

    def __init__(self, database: Database, heard: Callable[[str | None], None]) -> None:
        self._database = database
        self._heard = heard
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._patience = database.settings.network_timeout.total_seconds()

    async def listen(self) -> None:
        """Listen until the connection breaks, which raises; the caller decides when to come back."""
        connection = self._connection = await self._database.connect_directly()
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _connection: gone.set())
            name = channel(self._database.settings.schema)
            await connection.add_listener(name, self._notified)
            self._heard(None)
            while not gone.is_set():
                try:
                    await asyncio.wait_for(gone.wait(), self._patience * PING_EVERY)
                except TimeoutError:
                    await self._ping(connection)
            raise ConnectionResetError(f"the connection that listens on {quoted(name)} was closed")
        finally:
            self._connection = None
            connection.terminate()

    async def _ping(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        try:
            await connection.fetch(PING, timeout=self._patience * ANSWER_WITHIN)
        except TimeoutError:
            self._database.give_up_connections()
            raise

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self._heard(str(payload))
