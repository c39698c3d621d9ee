"""SQL of several statements for an operator: one transaction, and patience with locks instead of a queue behind them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import asyncpg

from jobplane.errors import ConfigurationError, DatabaseUnavailableError
from jobplane.settings import DatabaseSettings
from jobplane.sql import load
from jobplane.store.connecting import connect
from jobplane.store.database import Connection
from jobplane.store.failures import Reaction, may_have_been_done, outcome_unknown, reaction_to, translated
from jobplane.store.locks import BROKEN, taking_locks
from jobplane.store.pooler import must_pass_pooler
from jobplane.store.session import OPERATOR_SESSION


@asynccontextmanager
async def connected(settings: DatabaseSettings, doing: str) -> AsyncIterator[Connection]:
    """A connection of an operator, as the owner of the tables where that is a group role.

    What the driver raises, here and inside, comes out as the DatabaseError that fits.
    """
    if not settings.is_given:
        raise ConfigurationError("no database is named: set DATABASE_URL or give --database-url")
    # Whoever acts as the owner must not leave that to the next user of a pooler's server connection.
    direct = must_pass_pooler(settings, f"jobplane {doing}")
    try:
        connection = await connect(
            replace(direct, patience=timedelta(0)),
            OPERATOR_SESSION,
            f"jobplane {doing}",
            command_timeout=None,
        )
    except (OSError, asyncpg.PostgresError) as error:
        raise translated(error, "connecting") from error
    try:
        yield connection
    except BROKEN as error:
        raise translated(error, doing) from error
    finally:
        await connection.close()


async def act_as_owner(connection: Connection, schema: str) -> None:
    """From now on be the owner of the tables, where that is a group role: what is made then belongs to it too."""
    owner = await connection.fetchval(load("roles/owner", schema).numbered)
    if owner is not None:
        await connection.fetchval("SELECT set_config('role', $1, false)", owner)


async def run(connection: Connection, doing: str, text: str) -> None:
    """Run all statements or none.

    Raises the driver's errors, DatabaseUnavailableError if locks stay, and OutcomeUnknownError if the connection breaks.
    """

    async def whole() -> None:
        try:
            await connection.execute(f"BEGIN;\n{text}\nCOMMIT;")
        except asyncpg.PostgresError:
            if not connection.is_closed():
                await connection.execute("ROLLBACK")
            raise

    try:
        await taking_locks(whole)
    except BROKEN as error:
        if may_have_been_done(error):
            raise outcome_unknown(translated(error, doing)) from error
        if reaction_to(error) is not Reaction.RETRY:
            raise
        raise DatabaseUnavailableError(
            f"{doing}: a table stayed locked by others, nothing was changed: {error}. Try again when the long "
            "transaction (jobplane doctor, pg_stat_activity) is over."
        ) from error
