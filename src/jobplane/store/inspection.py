"""What `jobplane doctor` asks of the tables beyond what clients do."""

from __future__ import annotations

import asyncpg

from jobplane.sql import load
from jobplane.store.database import Connection


async def count_unleased(connection: Connection, schema: str) -> int:
    """How many running jobs have no lease. Raises the driver's own errors."""
    count: int = await connection.fetchval(load("stats/unleased", schema).numbered)
    return count


async def oldest_transaction(connection: Connection) -> asyncpg.Record | None:
    """The session (or prepared transaction) whose transaction is the oldest, if any. Raises the driver's own errors."""
    return await connection.fetchrow(load("stats/oldest_transaction").numbered)
