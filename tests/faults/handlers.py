"""What the workers of the fault suite run. Each handler keeps the journal that the checker reads."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from jobplane import JobContext, task
from tests.support import Journal

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
