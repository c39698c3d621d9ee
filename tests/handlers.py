"""The tasks that worker processes of the tests run. Each writes what it does to the journal."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import timedelta
from pathlib import Path

from jobplane import Fixed, JobContext, Registry, task
from tests.support import Journal

_journal = Journal(Path(os.environ.get("JOBPLANE_TEST_JOURNAL", os.devnull)))


@task
async def work(ctx: JobContext, seconds: float = 0.0, marker: str = "") -> str:
    """Does nothing for a while."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch, attempt=ctx.attempt, marker=marker)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        _journal.write(event="cancelled", job=ctx.job.id, epoch=ctx.epoch)
        raise
    _journal.write(event="end", job=ctx.job.id, epoch=ctx.epoch)
    return marker


@task(at_most_once=True)
async def once(ctx: JobContext, seconds: float = 0.0) -> None:
    """Must never run twice."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch, attempt=ctx.attempt)
    await asyncio.sleep(seconds)
    _journal.write(event="end", job=ctx.job.id, epoch=ctx.epoch)


@task
async def block(ctx: JobContext, seconds: float) -> None:
    """Blocks the event loop, as a careless handler does."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch)
    time.sleep(seconds)  # noqa: ASYNC251 - the point of it
    _journal.write(event="end", job=ctx.job.id, epoch=ctx.epoch)


@task
def work_in_thread(ctx: JobContext, seconds: float = 0.0) -> None:
    """The same, synchronously; heeds cancellation."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch)
    ctx.wait_cancelled(seconds)
    ctx.raise_if_cancelled()
    _journal.write(event="end", job=ctx.job.id, epoch=ctx.epoch)


@task(retry=Fixed(timedelta(0)))
async def fail_then_die(ctx: JobContext) -> None:
    """Fails, and then kills its worker, while others are in hand."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch, attempt=ctx.attempt)
    if ctx.attempt == 1:
        raise ValueError
    os._exit(137)


@task(max_attempts=3)
async def die(ctx: JobContext) -> None:
    """Kills its worker."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch)
    os._exit(137)


@task
async def stubborn(ctx: JobContext) -> None:
    """Does not end, whoever asks."""
    _journal.write(event="start", job=ctx.job.id, epoch=ctx.epoch)
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            _journal.write(event="told", job=ctx.job.id, epoch=ctx.epoch)


@task
def stubborn_in_thread(seconds: float) -> None:
    """The same, synchronously."""
    _journal.write(event="start")
    time.sleep(seconds)


old_release = Registry([work])
"""What the workers of the last release know."""
new_release = Registry([work, work_in_thread])
"""What those of the next one know."""
