"""What each transaction begins with where a connection cannot be trusted to remember it.

Two reasons: row security, where the tenant must end with the transaction; and a pooler in transaction mode, where the
next transaction meets another server connection, and what was set for the session would be met by a stranger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from jobplane.settings import DatabaseSettings
from jobplane.sql import load

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"


class Scope:
    """The settings of connections, and of transactions.

    Args:
        settings: whether statements may be prepared, and whether there is row security.
        setup: SET statements for each connection.
        tenant: whose jobs to see, where there is row security.
    """

    def __init__(self, settings: DatabaseSettings, setup: str, tenant: str | None) -> None:
        pooled = not settings.prepared_statements
        self.session = "" if pooled else setup
        """To run once on each connection."""
        self._local = setup.replace("SET ", "SET LOCAL ") if pooled else ""
        self.tenant = tenant if settings.row_security else None
        """The tenant that the server is told of; None where it does not ask."""
        self._enter = load("tenant/enter", settings.schema)

    def __bool__(self) -> bool:
        """Whether a lone statement needs a transaction around it."""
        return bool(self._local) or self.tenant is not None

    @asynccontextmanager
    async def transaction(self, connection: Connection) -> AsyncIterator[None]:
        """A transaction that begins with what it needs. A cancelled one does not wait for the server to roll back."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            if self._local:
                await connection.execute(self._local)
            if self.tenant is not None:
                await connection.fetch(self._enter.numbered, self.tenant)
            yield
        except (TimeoutError, asyncio.CancelledError):
            raise  # the connection is closed by whoever holds it, and the transaction with it
        except BaseException:
            await transaction.rollback()
            raise
        await transaction.commit()
