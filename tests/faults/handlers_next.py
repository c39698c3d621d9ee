"""The next release of tests/faults/handlers.py: it knows one type more."""

from __future__ import annotations

import os

from jobplane import JobContext, task
from tests.faults.handlers import block_loop, note, work

__all__ = ["block_loop", "novel", "work"]


@task(max_attempts=20)
async def novel(ctx: JobContext) -> None:
    """New in this release; the first attempt kills its worker."""
    note("start", ctx)
    if ctx.attempt == 1:
        os._exit(137)
    note("end", ctx)
