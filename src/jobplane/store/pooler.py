"""Behind a pooler in transaction mode (PgBouncer): nothing that a session keeps may be relied on, nor left behind.

The server's session changes hands at each commit. What a session would be told once is told to each transaction
instead, with SET LOCAL: a plain SET would reach whoever gets the session next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from jobplane.errors import ConfigurationError
from jobplane.settings import DatabaseSettings
from jobplane.sql import SQLValue, Statement

if TYPE_CHECKING:
    import asyncpg

    from jobplane.store.database import Connection


def local(setup: str) -> str:
    """SET statements for a session as they are for one transaction."""
    return setup.replace("SET ", "SET LOCAL ")


def past_pooler(settings: DatabaseSettings) -> DatabaseSettings | None:
    """The way to the server itself, for what needs a session; None where only the pooler is known."""
    if settings.direct_url is not None:
        return replace(settings, url=settings.direct_url, prepared_statements=True)
    return settings if settings.prepared_statements else None


def must_pass_pooler(settings: DatabaseSettings, what: str) -> DatabaseSettings:
    """As past_pooler. Raises ConfigurationError where only the pooler is known."""
    direct = past_pooler(settings)
    if direct is None:
        raise ConfigurationError(
            f"{what} needs a session of its own, which a pooler in transaction mode does not give: set "
            "JOBPLANE_DIRECT_URL to the URL of the server itself"
        )
    return direct


async def fetch_locally(
    connection: Connection, setup: str, statement: Statement, values: Sequence[SQLValue]
) -> list[asyncpg.Record]:
    """One statement in a transaction of its own, under settings that end with it."""
    await connection.execute(f"BEGIN; {local(setup)}")
    try:
        rows = await connection.fetch(statement.numbered, *values)
        await connection.execute("COMMIT")
    except (TimeoutError, asyncio.CancelledError):
        raise  # whoever holds the connection closes it
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK")
        raise
    return rows
