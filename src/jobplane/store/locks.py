"""Taking table locks without making the queue wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg

from jobplane.store.failures import Reaction, reaction_to

T = TypeVar("T")
LOCK_TRIES: Final = 30
BROKEN: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)
"""What the driver raises: the server's words, its own, and those of the network."""


async def taking_locks(action: Callable[[], Awaitable[T]]) -> T:
    """Try something that needs table locks, again after lock timeouts, deadlocks and serialization failures.

    A short lock_timeout (OPERATOR_SESSION) and many tries: whoever wants such a lock never makes the whole queue wait behind
    it. Raises the driver's last error.
    """
    for left in reversed(range(LOCK_TRIES)):
        try:
            return await action()
        except asyncpg.PostgresError as error:
            if reaction_to(error) is not Reaction.RETRY or not left:
                raise
        await asyncio.sleep(random.uniform(0.1, 1.0))  # noqa: S311 - spread, not secrecy
    raise AssertionError("unreachable: the last try returns or raises")
