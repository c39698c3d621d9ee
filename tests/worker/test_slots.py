"""The places for jobs in a worker: how many to claim, who is woken, what heartbeats renew."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from jobplane.ids import new_job_id
from jobplane.job import Claim
from jobplane.worker.slots import HEED_WITHIN, PACE_WINDOW, QueueSlots, Running, StopReason, safety_margin


def claim() -> Claim:
    """A claimed job."""
    now = datetime.now(UTC)
    return Claim(
        id=new_job_id(),
        type="work",
        payload="{}",
        attempt=1,
        max_attempts=3,
        epoch=1,
        queue="default",
        priority=0,
        scheduled_at=now,
        created_at=now,
        started_at=now,
        unique_key=None,
        tags=(),
        progress=None,
        retry_policy=None,
    )


def run(slots: QueueSlots, task: asyncio.Task[None] | None = None) -> Running:
    """A job that runs in these slots."""
    running = Running(claim=claim(), task=task, deadline=float("inf"), started=time.monotonic())
    slots.running[running.claim.id] = running
    return running


async def test_room_is_the_free_slots_and_what_the_present_pace_will_free() -> None:
    slots = QueueSlots("default", 4)
    assert slots.room(0.1) == 4

    run(slots)
    slots.put([claim(), claim()])

    assert slots.room(0.1) == 1
    slots.pace = 100.0
    assert slots.room(0.1) == 11
    assert slots.room(0.0) == 1


async def test_the_pace_is_that_of_the_last_window_and_falls_again() -> None:
    slots = QueueSlots("default", 1)
    slots._window_start -= PACE_WINDOW
    for _ in range(50):
        slots.count_finished()

    slots.measure_pace()
    assert 25 <= slots.pace <= 50
    slots._window_start -= PACE_WINDOW
    slots.measure_pace()

    assert slots.pace == 0


async def test_nothing_is_claimed_ahead_before_a_pace_is_known() -> None:
    slots = QueueSlots("mail", 4)

    assert (slots.name, slots.pace, slots.room(60.0)) == ("mail", 0.0, 4)


async def test_a_quick_queue_has_its_pace_before_the_window_is_over() -> None:
    slots = QueueSlots("default", 2)
    for _ in range(21):
        slots.count_finished()

    slots._window_start = time.monotonic()
    slots.measure_pace()
    assert slots.pace == 0, "too short a time to tell"
    slots._window_start = time.monotonic() - 0.1
    slots.measure_pace()
    assert 21 / 1.0 < slots.pace <= 21 / 0.1


async def test_a_slow_queue_waits_for_its_window() -> None:
    slots = QueueSlots("default", 2)
    for _ in range(20):
        slots.count_finished()

    slots._window_start = time.monotonic() - 0.5
    slots.measure_pace()

    assert slots.pace == 0


async def test_a_thread_is_given_up_for_any_reason_but_a_mere_request() -> None:
    """A synchronous handler that someone wants cancelled may still end by itself; a later reason gives it up."""
    given_up: list[StopReason] = []
    for reason in StopReason:
        running = run(QueueSlots("default", 1))
        running.give_up = partial(given_up.append, reason)
        running.stop(reason)
    assert given_up == [StopReason.TIMEOUT, StopReason.LOST, StopReason.SHUTDOWN]

    running = run(QueueSlots("default", 1))
    running.give_up = partial(given_up.append, StopReason.CANCELLED)
    running.stop(StopReason.CANCELLED)
    running.stop(StopReason.LOST)

    assert given_up[3:] == [StopReason.CANCELLED]
    assert running.stop_reason is StopReason.CANCELLED


def test_the_margins_are_those_that_the_guide_and_the_promises_count_with() -> None:
    """I9: a handler stops when a tenth of its lease is left; ten seconds after that it is let go."""
    assert safety_margin(timedelta(seconds=45)) == pytest.approx(4.5)
    assert HEED_WITHIN == 10.0


async def test_who_runs_jobs_is_told_of_those_that_were_handed_over() -> None:
    slots = QueueSlots("default", 3)
    seen: list[int] = []
    slots.on_put = lambda: seen.append(len(slots.waiting))

    slots.put([claim(), claim()])

    assert seen == [2]


async def test_everything_that_waits_or_runs_is_held() -> None:
    slots = QueueSlots("default", 2)
    running = run(slots)
    waiting = claim()
    slots.put([waiting])

    assert list(slots.held()) == [waiting, running.claim]


async def test_a_handler_that_does_not_end_long_after_it_was_told_to_is_not_held_any_more() -> None:
    slots = QueueSlots("default", 2)
    heedful, stubborn = run(slots), run(slots)
    for running in (heedful, stubborn):
        running.stop(StopReason.TIMEOUT)
    stubborn.stopped_at -= HEED_WITHIN + 1

    assert list(slots.held()) == [heedful.claim]


async def test_the_first_reason_to_stop_stands_and_cancels_once() -> None:
    cancelled = 0

    async def handler() -> None:
        nonlocal cancelled
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled += 1
                if cancelled == 2:
                    raise

    task = asyncio.create_task(handler())
    running = run(QueueSlots("default", 1), task)
    await asyncio.sleep(0)

    running.stop(StopReason.CANCELLED)
    await asyncio.sleep(0)
    running.stop(StopReason.SHUTDOWN)
    await asyncio.sleep(0)

    assert (running.stop_reason, cancelled) == (StopReason.CANCELLED, 1)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
