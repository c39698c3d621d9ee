"""One connection to the server, as the settings say."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final, Literal

import asyncpg

from jobplane.errors import ConfigurationError
from jobplane.redaction import masked
from jobplane.settings import DatabaseSettings
from jobplane.store.inherited import guard
from jobplane.store.keepalive import watch_over
from jobplane.store.session import CLIENT_SESSION, Session
from jobplane.urls import Target, for_asyncpg

STATEMENTS_KEPT: Final = 100
"""Prepared statements that a connection keeps: more than there are."""


async def connect(
    settings: DatabaseSettings,
    session: Session = CLIENT_SESSION,
    application_name: str = "jobplane",
    command_timeout: timedelta | Literal["settings"] | None = "settings",
) -> asyncpg.Connection[asyncpg.Record]:
    """One new connection.

    Args:
        settings: where to.
        session: what it is set to. Behind a pooler in transaction mode nothing is: see `held`.
        application_name: as pg_stat_activity shows it.
        command_timeout: the longest wait for an answer; None waits for ever; default settings.statement_timeout.

    Raises:
        ConfigurationError: the URL cannot be read. Beside that, the driver's own errors.
    """
    limit = settings.statement_timeout if command_timeout == "settings" else command_timeout
    where = masked(settings.url) if settings.url else f"{settings.host}:{settings.port}"
    by_parts = settings.url is None
    target = None if settings.url is None else for_asyncpg(settings.url)
    try:
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            None if target is None else target.url,
            host=settings.host if by_parts else None,
            port=settings.port if by_parts else None,
            database=settings.name if by_parts else None,
            user=settings.user if by_parts else None,
            password=settings.password if by_parts else None,
            ssl=settings.sslmode if by_parts else None,
            timeout=_seconds_to_connect(settings, target),
            command_timeout=None if limit is None else limit.total_seconds(),
            # A pooler that gives each transaction another server connection knows no statement of the last one.
            statement_cache_size=STATEMENTS_KEPT if settings.prepared_statements else 0,
            server_settings={"application_name": application_name},
        )
    except ssl.SSLError:
        raise  # one that a certificate caused is a ValueError too, and has nothing to do with the URL
    except (ValueError, asyncpg.exceptions.ClientConfigurationError) as error:
        if str(error).startswith("root certificate file"):
            # verify-ca and verify-full want to know whom to trust, and must not go on without.
            raise ConfigurationError(
                f"the server's certificate cannot be verified: {str(error).partition(chr(10))[0]}. Name the file with "
                "sslrootcert=... in the URL, or put it there"
            ) from None
        # The driver's own words may quote a piece of the password, so they are not passed on.
        raise ConfigurationError(
            f"the database URL {where} cannot be read: write it as postgresql://user:password@host:5432/name, with "
            "special characters in user and password percent-encoded"
        ) from None
    guard(connection)
    try:
        watch_over(connection, settings.network_timeout, {} if target is None else target.keepalive)
        if settings.prepared_statements:
            # A part of connecting: a network that died in between is not waited for as long as a statement may take.
            await connection.execute(session.for_session, timeout=settings.connect_timeout.total_seconds())
    except BaseException:
        # Nobody has it yet: whoever is cancelled here, as a worker that stops while it connects, would leave it open.
        connection.terminate()
        raise
    return connection


def _seconds_to_connect(settings: DatabaseSettings, target: Target | None) -> float:
    # libpq's 0 waits for ever: a client that tries again for as long as its patience has no use for that.
    given = None if target is None else target.connect_timeout
    return float(given) if given else settings.connect_timeout.total_seconds()


@asynccontextmanager
async def held(
    connection: asyncpg.Connection[asyncpg.Record], settings: DatabaseSettings, session: Session
) -> AsyncIterator[None]:
    """Keep one server session for all statements inside: behind a pooler in transaction mode, by one transaction."""
    if settings.prepared_statements:
        yield
        return
    async with connection.transaction():
        await connection.execute(session.for_transaction)
        yield


def session_name(duty: str, worker_id: str) -> str:
    """The application_name of a worker's connections: pg_stat_activity and the history tell by it which worker.

    Of the id (host-pid-token) the last two parts: PostgreSQL keeps 63 bytes of ASCII, and hosts may have long names.
    """
    return f"jobplane {duty} {'-'.join(worker_id.split('-')[-2:])}"
