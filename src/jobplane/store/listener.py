"""LISTEN on a connection of its own: reconnects by itself and hands out the words that arrive.

After each reconnect the callback is told None: something may have been missed, so look once.

The listener also speaks for the other connections of its database: it asks the server something small again and
again, and when no answer comes, the network is taken for broken, and all connections are given up. A limit for each
statement would do that too, but would also end those that are merely slow.

Anyone who may connect to the database can notify, as often as they like, and the driver parses each word on the event
loop before anybody can look at it. So words have a budget, and beyond it the connection is given up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Never

import asyncpg

from jobplane.sql import channel
from jobplane.store.database import Database
from jobplane.token_bucket import TokenBucket

PING: Final = "SELECT 1 AS still_listening"
PING_EVERY, ANSWER_WITHIN = 0.35, 0.6
"""Shares of settings.network_timeout: a half-open connection delivers nothing and closes nothing."""
WORDS_PER_SECOND: Final = 2000
"""As many as ten busy clients send (each one every 5 ms); they take the event loop some 2 % of a core."""
WORDS_AT_ONCE: Final = 5000
"""What may have gathered while a handler blocked the event loop; they take it some 50 ms."""


class TooManyWordsError(Exception):
    """More words arrive than a worker should spend its time on. The connection was given up."""


class Listener:
    """Calls `heard(word)` for each notification, and `heard(None)` after each (re)connect."""

    def __init__(self, database: Database, heard: Callable[[str | None], None]) -> None:
        self._database = database
        self._heard = heard
        self._budget = TokenBucket(WORDS_PER_SECOND, WORDS_AT_ONCE)
        self._patience = database.settings.network_timeout.total_seconds()

    async def listen(self) -> None:
        """Listen until the connection breaks, which raises; the caller decides when to come back.

        Raises:
            TooManyWordsError: the budget for words is spent.
            OSError: the connection was closed. Beside that, the driver's own errors.
        """
        connection = await self._database.connect_directly()
        ended = asyncio.Event()
        too_many = False

        def notified(_connection: object, _pid: int, _channel: str, payload: object) -> None:
            nonlocal too_many
            if too_many:
                return  # parsed before the connection was given up
            if self._budget.take():
                self._heard(str(payload))
            else:
                too_many = True
                ended.set()
                connection.terminate()

        try:
            connection.add_termination_listener(lambda _connection: ended.set())
            await connection.add_listener(channel(self._database.settings.schema), notified)
            self._heard(None)
            await self._until(ended, connection)
        except Exception as error:
            if too_many:
                raise TooManyWordsError from error
            raise
        finally:
            connection.terminate()

    async def _until(self, ended: asyncio.Event, connection: asyncpg.Connection[asyncpg.Record]) -> Never:
        while not ended.is_set():
            try:
                await asyncio.wait_for(ended.wait(), self._patience * PING_EVERY)
            except TimeoutError:
                await self._ping(connection)
        raise ConnectionResetError("the connection that listens for notifications was closed")

    async def _ping(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        try:
            await connection.fetch(PING, timeout=self._patience * ANSWER_WITHIN)
        except TimeoutError:
            self._database.give_up_connections()
            raise
