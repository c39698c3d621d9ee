"""What two releases know, and jobs that fail because nobody answers."""

from __future__ import annotations

import asyncio
import socket

from jobplane import JobContext, Registry, task
from tests.faults.handlers import note, work


@task(max_attempts=20)
async def removed(ctx: JobContext) -> None:
    """A type that the next release no longer knows."""
    note("start", ctx)
    note("end", ctx)


@task(max_attempts=20)
async def added(ctx: JobContext) -> None:
    """A type that the last release does not know yet."""
    note("start", ctx)
    note("end", ctx)


@task
async def call_dead_endpoint(ctx: JobContext, port: int) -> None:
    """Fails as soon as the connection is refused, and is retried by the default policy."""
    note("start", ctx)
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))


last_release = Registry([work, removed])
next_release = Registry([work, added])
failing = Registry([work, call_dead_endpoint])
