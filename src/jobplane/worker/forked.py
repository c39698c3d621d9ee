"""Children that a handler forks and that come back from it: the job, its outcome and the worker are the parent's.

A child has its own work to do inside the handler and ends there, as those of multiprocessing do. One that returns, or
lets an exception out, would go on as a second worker. It ends instead.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import traceback
from collections import deque
from contextlib import suppress
from typing import NoReturn

_logger = logging.getLogger("jobplane.worker")


def end_child(error: BaseException | None) -> NoReturn:
    """End this process as a program would that raised `error`, or that ended without one."""
    code = 0
    if isinstance(error, SystemExit):
        code = _exit_code(error)
    elif error is not None:
        code = 1
        traceback.print_exception(error)
    else:
        _logger.warning(
            "a process that a handler forked returned from the handler: it ends here, since the job is its parent's. "
            "Let it end with os._exit() or sys.exit(), or use multiprocessing."
        )
    _end(code)


def end_child_of(loop: asyncio.AbstractEventLoop) -> None:
    """End this process as soon as the code that forked it, on its parent's event loop, gives way to the loop."""
    # What was ready to run is the parent's to do, and our callback would come after it. Neither kind of loop has a word
    # for this; uvloop's keeps its queue where only the garbage collector looks.
    for queue in (getattr(loop, "_ready", None), *gc.get_referents(loop)):
        if isinstance(queue, deque):
            queue.clear()
    loop.call_soon(_end_on_loop)


def _end_on_loop() -> None:
    _logger.error(
        "a process that was forked on a worker's event loop came back to the loop: it ends here, since the loop and its "
        "jobs are its parent's. Let it end with os._exit(), or use multiprocessing."
    )
    _end(1)


def _end(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads: it ends in any case
            stream.flush()
    os._exit(code)


def _exit_code(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1
