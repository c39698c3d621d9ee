"""Commits that did not wait for their synchronous standby: the server says so beside an answer that looks like success.

Cancelling a statement whose commit waits already (by a timeout, by an administrator) ends the wait and not the commit.
What the client is told then must not count as acknowledged: a failover now would lose it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import asyncpg

from jobplane.errors import NotReplicatedError

if TYPE_CHECKING:
    from jobplane.store.database import Connection


@contextmanager
def replication_heeded(connection: Connection, *, heeded: bool) -> Iterator[None]:
    """Raise NotReplicatedError when a commit inside was not confirmed by its standby. For `heeded` false, do nothing."""
    if not heeded:
        yield
        return
    warnings: list[str] = []
    listen = listener_for(warnings)
    connection.add_log_listener(listen)
    try:
        yield
    finally:
        # A connection that broke has gone back to its pool already, and what broke it is the error to raise.
        with suppress(asyncpg.InterfaceError):
            connection.remove_log_listener(listen)
    if warnings:
        raise not_replicated(warnings[0])


def listener_for(warnings: list[str]) -> Callable[[Connection, asyncpg.PostgresLogMessage], None]:
    """A listener to a connection's log that collects what it says of commits without their standby."""

    def listen(_connection: Connection, message: asyncpg.PostgresLogMessage) -> None:
        if says_not_replicated(getattr(message, "server_source_function", None)):
            warnings.append(str(message))

    return listen


def says_not_replicated(source_function: str | None) -> bool:
    """Whether a warning means that a commit did not wait for its standby.

    Told by the function of the server that says it: the SQLSTATE 01000 is any warning's, and the text is translated.
    """
    return source_function == "SyncRepWaitForLSN"


def not_replicated(warning: str) -> NotReplicatedError:
    """The error for such a warning."""
    return NotReplicatedError(
        f"committed on the primary, but whether a standby has it is not known: {warning}. Call again, with the same "
        "idempotency key: that makes no second job, and returns once a standby has it."
    )
