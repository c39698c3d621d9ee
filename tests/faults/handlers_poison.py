"""Jobs that take their worker with them, and good ones beside them."""

from __future__ import annotations

import asyncio
import ctypes
import os

from jobplane import JobContext, task
from tests.faults.handlers import note, work

__all__ = ["exit_at_once", "segfault", "swallow_memory", "work"]


@task(max_attempts=20)
async def exit_at_once(ctx: JobContext) -> None:
    """As a library does that calls exit() in C."""
    note("start", ctx)
    os._exit(137)


@task(max_attempts=20)
async def segfault(ctx: JobContext) -> None:
    """As a broken extension module does."""
    note("start", ctx)
    ctypes.string_at(0)


@task(max_attempts=20)
async def swallow_memory(ctx: JobContext) -> None:
    """As a careless export does, until the kernel kills the process."""
    note("start", ctx)
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(1)) * 10_000_000)
        await asyncio.sleep(0)
