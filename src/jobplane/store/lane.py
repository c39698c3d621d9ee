"""A connection kept between statements, for the few callers who send one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress

import asyncpg

from jobplane.sql import SQLValue, Statement
from jobplane.store.database import Connection, Database
from jobplane.store.doubt import Doubt
from jobplane.store.failures import Reaction, reaction_to
from jobplane.store.replication import listener_for, not_replicated


class Lane:
    """A connection of one's own.

    Taking a connection from the pool and giving it back costs the event loop more than a small statement does.
    Not to be used by two callers at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._unconfirmed: list[str] = []

    @property
    def connected(self) -> bool:
        """Whether the connection is open, as far as this side knows; if not, the next statement opens one."""
        return self._connection is not None and not self._connection.is_closed()

    async def fetch(
        self, statement: Statement, args: Mapping[str, SQLValue], doubt: Doubt | None = None
    ) -> list[asyncpg.Record]:
        """As Database.fetch."""
        values = statement.positions(args)
        return await self._database.patiently(
            statement.name, lambda: self.fetch_once(statement, values, doubt), doubt
        )

    async def fetch_once(
        self, statement: Statement, values: Sequence[SQLValue], doubt: Doubt | None = None
    ) -> list[asyncpg.Record]:
        """As Database.fetch_once."""
        connection = self._connection
        if connection is None or connection.is_closed():
            connection = await self._opened()
        self._unconfirmed.clear()
        try:
            rows = await self._database.fetch_on(connection, statement, values, doubt)
        except BaseException as error:
            if _spoils_connection(error):
                self._give_up()
            raise
        if self._unconfirmed:
            raise not_replicated(self._unconfirmed[0])
        return rows

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """As Database.transaction: one try."""
        connection = await self._opened()
        transaction = connection.transaction()
        try:
            await transaction.start()
            await self._database.set_locally(connection)
            yield connection
            await transaction.commit()
        except BaseException as error:
            if _spoils_connection(error) or connection.is_closed():
                self._give_up()
            else:
                await transaction.rollback()
            raise

    async def close(self, timeout: float = 2.0) -> None:
        """Close the connection, by force after `timeout` seconds; the next statement opens another."""
        connection, self._connection = self._connection, None
        if connection is not None and not connection.is_closed():
            with suppress(TimeoutError, OSError):  # it is being given up anyway
                await asyncio.wait_for(connection.close(), timeout)

    async def _opened(self) -> asyncpg.Connection[asyncpg.Record]:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.connect()
            if self._database.replicated:
                # Once for all statements: a listener for each costs more than a small statement's share of Python.
                self._connection.add_log_listener(listener_for(self._unconfirmed))
        return self._connection

    def _give_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()


def _spoils_connection(error: BaseException) -> bool:
    cancelled = isinstance(error, asyncio.CancelledError)
    return cancelled or reaction_to(error) in (Reaction.RECONNECT, Reaction.BACK_OFF)
