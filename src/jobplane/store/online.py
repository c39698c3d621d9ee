"""Migrations that run statement by statement, outside of a transaction, while the queue goes on."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from jobplane.store.session import OPERATOR_SESSION

_BRIEFLY: Final = OPERATOR_SESSION.settings["lock_timeout"]


def statements_of(text: str) -> list[str]:
    """The statements of an online file."""
    # Online files hold plain statements only: no function bodies, so a semicolon at a line's end is an end.
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in re.split(r";\s*\n", "\n".join(lines) + "\n") if part.strip()]


def running_online(
    connection: asyncpg.Connection[asyncpg.Record], statements: list[str]
) -> Callable[[], Awaitable[None]]:
    """Run an online file, from its first statement on."""

    async def run() -> None:
        # Another try begins with the first statement: an index whose building was interrupted is there, invalid,
        # and only the DROP before it makes room.
        for statement in statements:
            # CONCURRENTLY waits for whoever still reads, and nobody queues behind it: it need not hurry.
            await _wait_for_locks(connection, "0" if "CONCURRENTLY" in statement else _BRIEFLY)
            await connection.execute(statement)
        await _wait_for_locks(connection, _BRIEFLY)

    return run


async def _wait_for_locks(connection: asyncpg.Connection[asyncpg.Record], patience: str) -> None:
    await connection.execute("SELECT set_config('lock_timeout', $1, false)", patience)
