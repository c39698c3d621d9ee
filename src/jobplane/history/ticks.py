"""What schedules enqueued against what they had to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from uuid import UUID

from jobplane.history.lives import Life
from jobplane.history.record import History, Tick
from jobplane.history.violations import DuplicateTick, LostJob, Violation, WrongTick


def check_ticks(history: History, lives: Mapping[UUID, Life]) -> Iterator[Violation]:
    """I17: each tick 0 or 1 times, exactly 1 where it is expected, none in the future, and its job is there."""
    first: dict[tuple[str, datetime], Tick] = {}
    present = {row.job_id for row in history.rows} if history.ticks else set()
    for tick in history.ticks:
        name = f"tick {tick.tick} of schedule {tick.schedule}"
        other = first.setdefault((tick.schedule, tick.tick), tick)
        if other is not tick:
            yield DuplicateTick(
                tick.job_id, f"{name} was enqueued as job {other.job_id} and as job {tick.job_id}"
            )
        if tick.tick > history.now:
            yield WrongTick(tick.job_id, f"{name} was enqueued before its time")
        if tick.schedule in history.expected_ticks and tick.tick not in history.expected_ticks[tick.schedule]:
            yield WrongTick(tick.job_id, f"{name} was enqueued, but the schedule has no such tick")
        if (
            history.whole
            and tick.job_id is not None
            and tick.job_id not in present
            and tick.job_id not in lives
        ):
            yield LostJob(tick.job_id, f"{name} was enqueued as job {tick.job_id}, which is not there")
    for schedule, expected in history.expected_ticks.items():
        for moment in sorted(expected):
            if (schedule, moment) not in first:
                yield WrongTick(None, f"tick {moment} of schedule {schedule} was never enqueued")
