"""What `jobplane doctor` asks of the tables beyond what clients do."""

from __future__ import annotations

from jobplane.sql import load
from jobplane.store.database import Connection


async def count_unleased(connection: Connection, schema: str) -> int:
    """How many running jobs have no lease. Raises the driver's own errors."""
    count: int = await connection.fetchval(load("stats/unleased", schema).numbered)
    return count
