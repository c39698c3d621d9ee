"""Handlers that write down every moment of theirs, so that two executions of a job at once cannot go unnoticed.

By the monotonic clock, which all processes of a host share and which no fault changes.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Final

from jobplane import Fixed, JobContext, Registry, task
from tests.support import Journal

MOMENT: Final = 0.02
"""Seconds between two lines."""
NEVER: Final = threading.Event()
"""To sleep by: under a faked clock, time.sleep does not end in time."""
SOON: Final = Fixed(timedelta(seconds=0.02))
_journal = Journal(Path(os.environ.get("JOBPLANE_TEST_JOURNAL", os.devnull)))


def note(event: str, ctx: JobContext) -> None:
    """One line of the journal."""
    _journal.write(
        event=event,
        job=ctx.job.id,
        epoch=ctx.epoch,
        attempt=ctx.attempt,
        type=ctx.job.type,
        moment=time.monotonic(),
    )


@task(max_attempts=100)
async def on_the_loop(ctx: JobContext, seconds: float) -> None:
    """Ends when it is cancelled."""
    note("start", ctx)
    try:
        for _ in range(int(seconds / MOMENT)):
            await asyncio.sleep(MOMENT)
            note("moment", ctx)
    finally:
        note("end", ctx)


@task(max_attempts=100, timeout=0.3, retry=SOON)
async def too_long_on_the_loop(ctx: JobContext, seconds: float) -> None:
    """Runs into its deadline in its first two attempts, and takes a moment to end after that."""
    note("start", ctx)
    try:
        await asyncio.sleep(seconds if ctx.attempt < 3 else 0)
    finally:
        await asyncio.sleep(MOMENT)
        note("end", ctx)


@task(max_attempts=100)
def in_a_thread(ctx: JobContext, seconds: float) -> None:
    """Looks at its context each moment."""
    note("start", ctx)
    try:
        for _ in range(int(seconds / MOMENT)):
            if ctx.wait_cancelled(MOMENT):
                ctx.raise_if_cancelled()
            note("moment", ctx)
    finally:
        note("end", ctx)


@task(max_attempts=100)
def deaf_in_a_thread(ctx: JobContext, seconds: float) -> None:
    """Does not know that it can be stopped, as most synchronous functions do not."""
    note("start", ctx)
    for _ in range(int(seconds / MOMENT)):
        NEVER.wait(MOMENT)
        note("moment", ctx)
    note("end", ctx)


@task(max_attempts=100, timeout=0.3, retry=SOON)
def too_long_and_deaf_in_a_thread(ctx: JobContext, seconds: float) -> None:
    """Runs into its deadline in its first two attempts, and hears nothing of it."""
    note("start", ctx)
    for _ in range(int(seconds / MOMENT) if ctx.attempt < 3 else 1):
        NEVER.wait(MOMENT)
        note("moment", ctx)
    note("end", ctx)


watched = Registry(
    [on_the_loop, too_long_on_the_loop, in_a_thread, deaf_in_a_thread, too_long_and_deaf_in_a_thread]
)
