"""Handlers that leave something behind for the job after them, and handlers whose work is hidden behind a plain function."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final

from jobplane import JobContext, Registry, task
from tests.faults.handlers import note

LATER: Final = 0.1
"""Seconds after its end at which a handler's cancellation arrives."""


@task(max_attempts=1)
async def cancels_itself_too_late(ctx: JobContext) -> None:
    """Has ended when its own stop button is pressed."""
    note("start", ctx)
    me = asyncio.current_task()
    assert me is not None
    asyncio.get_running_loop().call_later(LATER, me.cancel)
    note("end", ctx)


@task(max_attempts=1)
async def innocent(ctx: JobContext) -> None:
    """Is at work when the cancellation of another arrives."""
    note("start", ctx)
    await asyncio.sleep(2 * LATER)
    note("end", ctx)


async def _works(ctx: JobContext) -> None:
    note("start", ctx)
    await asyncio.sleep(0)
    note("effect", ctx)
    note("end", ctx)


@task(max_attempts=1)
def hides_its_work(ctx: JobContext) -> Coroutine[object, object, None]:
    """What a decorator makes that does not know of asyncio."""
    return _works(ctx)


apart = Registry([cancels_itself_too_late, innocent, hides_its_work])
