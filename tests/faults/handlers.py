"""What the workers of the fault suite run. Each handler keeps the journal that the checker reads."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobplane import Fixed, JobContext, Snooze, task
from tests.support import Journal

AT_ONCE: Final = Fixed(timedelta(seconds=0.05))
_journal = Journal(Path(os.environ.get("JOBPLANE_TEST_JOURNAL", os.devnull)))


def note(event: str, ctx: JobContext, **more: object) -> None:
    """One line of the journal."""
    _journal.write(event=event, job=ctx.job.id, epoch=ctx.epoch, attempt=ctx.attempt, **more)


@task(max_attempts=20)
async def work(ctx: JobContext, seconds: float = 0.0) -> None:
    """Takes a while, and has one effect."""
    note("start", ctx)
    try:
        await asyncio.sleep(seconds)
        note("effect", ctx)
    except asyncio.CancelledError:
        note("cancelled", ctx)
        raise
    note("end", ctx)


@task(max_attempts=20)
def work_in_thread(ctx: JobContext, seconds: float = 0.0) -> None:
    """The same, synchronously; heeds cancellation."""
    note("start", ctx)
    if ctx.wait_cancelled(seconds):
        note("cancelled", ctx)
        ctx.raise_if_cancelled()
    note("end", ctx)


@task(max_attempts=20)
async def stubborn(ctx: JobContext, seconds: float = 0.0) -> None:
    """Will not be told to stop: goes on for a second and returns as if all were well."""
    note("start", ctx)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        await asyncio.sleep(1.0)
    note("end", ctx)


@task(max_attempts=20)
async def block_loop(ctx: JobContext, seconds: float) -> None:
    """Blocks the event loop, as a careless handler does."""
    note("start", ctx)
    time.sleep(seconds)  # noqa: ASYNC251 - the point of it
    note("end", ctx)


@task(max_attempts=20)
async def hold_gil(ctx: JobContext, seconds: float) -> None:
    """Lets no other thread run, as an extension module may, in the first attempt; the next is spared."""
    note("start", ctx)
    if ctx.attempt == 1:
        ctypes.PyDLL(None).usleep(int(seconds * 1_000_000))
    note("end", ctx)


@task(max_attempts=1, timeout=2)
async def hang(ctx: JobContext) -> None:
    """Never ends by itself."""
    note("start", ctx)
    await asyncio.Event().wait()


@task(max_attempts=1, timeout=2)
def hang_in_thread(ctx: JobContext) -> None:
    """Never ends by itself, and heeds nothing, for longer than the test lasts."""
    note("start", ctx)
    time.sleep(60)


@task(max_attempts=20)
async def nap(ctx: JobContext) -> Snooze | None:
    """Comes back later once, which gives its attempt back."""
    note("start", ctx)
    note("end", ctx)
    return Snooze(timedelta(seconds=0.1)) if ctx.epoch == 1 else None


@task(max_attempts=2)
async def poison(ctx: JobContext) -> None:
    """Kills its worker."""
    note("start", ctx)
    os._exit(137)


@task(max_attempts=3, retry=AT_ONCE)
async def fail_once(ctx: JobContext) -> None:
    """Fails in its first attempt."""
    note("start", ctx)
    note("end", ctx)
    if ctx.attempt == 1:
        raise RuntimeError("not yet")


@task(max_attempts=2, retry=AT_ONCE)
async def raise_garbage(ctx: JobContext) -> None:
    """Raises what no database stores as it is."""
    note("start", ctx)
    note("end", ctx)
    raise RuntimeError("before\x00between\ud800after")
