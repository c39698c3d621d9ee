"""Synchronous handlers that were given up and still go on in their threads: no next execution beside them (I9).

A thread cannot be stopped. Once an outcome is written that makes the job run again, its next execution may begin at any
moment, in any process; so such an outcome waits for the thread, or makes the next execution wait.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import Final

from jobplane.outcome import Outcome, Released, Rescheduled
from jobplane.worker.slots import HEED_WITHIN, Running

PROCESS_ENDS: Final = timedelta(seconds=2)
"""A worker that was told to stop has ended by then, and its threads with it: I23 gives it a second after the grace."""


async def outcome_apart(outcome: Outcome, running: Running, ended: asyncio.Event) -> Outcome:
    """The outcome of a handler that was given up, once it may be written.

    After a timeout the job is held, its lease renewed, until the thread has come to its end, for as long as any handler
    may take to end (HEED_WITHIN). A worker that stops, or whose lease is lost, does not wait; then, and after that time,
    the next execution is put off by PROCESS_ENDS.

    Args:
        outcome: what came of the handler.
        running: the job, still among the running ones.
        ended: set when the thread has come to its end.
    """
    if isinstance(outcome, Rescheduled):
        await _until_ended(running, ended)
    if ended.is_set():
        return outcome
    match outcome:
        case Released():
            return replace(outcome, delay=PROCESS_ENDS)
        case Rescheduled(delay=delay):
            return replace(outcome, delay=max(delay, PROCESS_ENDS))
        case _:
            return outcome


async def _until_ended(running: Running, ended: asyncio.Event) -> None:
    hurry = asyncio.Event()
    running.give_up = hurry.set
    waits = [asyncio.ensure_future(event.wait()) for event in (ended, hurry)]
    left = running.stopped_at + HEED_WITHIN - time.monotonic()
    try:
        await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        return  # whoever cancels tasks that are not theirs must not cost the outcome
    finally:
        for wait in waits:
            wait.cancel()
