"""What else goes on in a database while a phase is measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from bench.harness.phases import Nuisance

READERS = 4
REPORT = (
    "SELECT queue, type, status, count(*), avg(attempts) FROM control_plane.jobs GROUP BY queue, type, status"
)


@asynccontextmanager
async def disturbed(nuisance: Nuisance, url: str) -> AsyncIterator[None]:
    """Whatever the phase names, from before its start to after its end."""
    match nuisance:
        case "snapshot":
            async with _connected(url) as holder, holder.transaction(isolation="repeatable_read"):
                await holder.fetchval("SELECT count(*) FROM control_plane.jobs")
                yield
        case "readers":
            async with AsyncExitStack() as stack:
                readers = [await stack.enter_async_context(_connected(url)) for _ in range(READERS)]
                reading = [asyncio.create_task(_report(reader)) for reader in readers]
                yield
                for task in reading:
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
        case _:
            yield


async def _report(reader: asyncpg.Connection[asyncpg.Record]) -> None:
    while True:
        await reader.fetch(REPORT)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        connection.terminate()
