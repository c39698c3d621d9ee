"""A schedule: a job that comes back by itself. Pure: what one may look like, and which of its ticks are made when.

A tick is a time that the expression means. It is late while no scheduler has decided on it; later than LATE, it
counts as missed, and with it all that was due since: then the schedule's policy says what becomes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, TypedDict, cast

from jobplane.cron import parse_cron
from jobplane.errors import InvalidInputError
from jobplane.job import JobPayload, NewJob
from jobplane.limits import MAX_TAGS, check_schedule, check_whole
from jobplane.options import JobQueueOptions, new_job
from jobplane.retry import RetryPolicy

LATE: Final = timedelta(seconds=30)
"""The restart of a server, or of all workers, is no outage: up to here all ticks are made."""
MAX_CAP: Final = 1000
DEFAULT_CAP: Final = 100
OWN_TAGS: Final = 2
"""The tags that name schedule and tick."""


class Missed(StrEnum):
    """What becomes of the ticks of an outage, once a worker runs again."""

    SKIP = "skip"
    """None of them is made."""
    LATEST = "latest"
    """Only the last one is."""
    ALL = "all"
    """All are, or the last missed_cap of them."""


class RecurringOptions(TypedDict, total=False):
    """How the jobs of a schedule are enqueued: see JobQueueOptions. A tick says when, and no two share an id."""

    queue: str
    priority: int
    max_attempts: int
    unique_key: str
    """No further job while one with this key is unfinished: such a tick makes none."""
    tags: Iterable[str]
    """Up to 18: two name the schedule and the tick."""
    retry: RetryPolicy


@dataclass(frozen=True, slots=True)
class NewSchedule:
    """A wish for a schedule: validated, not yet written."""

    name: str
    cron: str
    timezone: str
    job: NewJob
    """What each of its jobs looks like; its id means nothing."""
    missed: Missed
    missed_cap: int


@dataclass(frozen=True, slots=True)
class Watched:
    """A schedule as a scheduler sees it."""

    name: str
    cron: str
    timezone: str
    revision: int
    last_tick: datetime
    """The newest tick that was decided on; at first the time of creation."""
    missed: Missed
    missed_cap: int


@dataclass(frozen=True, slots=True)
class Decision:
    """What to make of a schedule's due ticks."""

    watched: Watched
    ticks: tuple[datetime, ...]
    newest: datetime
    """Up to here it is decided, whether ticks are made or skipped."""
    look_at: datetime
    """The next tick."""


def new_schedule(
    name: str,
    cron: str,
    type: str,  # noqa: A002 - the contract's word
    payload: JobPayload | None = None,
    *,
    timezone: str = "UTC",
    missed: Missed | str = Missed.LATEST,
    missed_cap: int = DEFAULT_CAP,
    options: RecurringOptions | None = None,
) -> NewSchedule:
    """A validated wish for a schedule. Raises InvalidInputError for any value outside its limit."""
    given = options or RecurringOptions()
    for option in given.keys() - RecurringOptions.__optional_keys__:
        raise InvalidInputError(
            "options", option, f"must be among {', '.join(sorted(RecurringOptions.__optional_keys__))}"
        )
    if missed not in set(Missed):
        raise InvalidInputError("missed", missed, f"must be one of {', '.join(Missed)}")
    job = new_job(type, {} if payload is None else payload, cast("JobQueueOptions", given))
    if len(job.tags or ()) > MAX_TAGS - OWN_TAGS:
        raise InvalidInputError(
            "tags", len(job.tags or ()), f"must be at most {MAX_TAGS - OWN_TAGS} (two name schedule and tick)"
        )
    return NewSchedule(
        check_schedule(name),
        parse_cron(cron, timezone).text,
        timezone,
        job,
        Missed(missed),
        check_whole("missed_cap", missed_cap, 1, MAX_CAP),
    )


def decide(watched: Watched, now: datetime) -> Decision:
    """Which ticks to make at `now`, the database's time. Raises InvalidInputError for a zone that is unknown here."""
    cron = parse_cron(watched.cron, watched.timezone, stored=True)
    last = watched.last_tick
    first = cron.next(last)
    if first is None:  # the calendar's end
        return Decision(watched, (), last, now + timedelta(days=1))
    if first > now:
        return Decision(watched, (), last, first)
    ticks: list[datetime] = []
    if now - first <= LATE:
        ticks = cron.newest(last, now, MAX_CAP)
    elif watched.missed is not Missed.SKIP:
        ticks = cron.newest(last, now, 1 if watched.missed is Missed.LATEST else watched.missed_cap)
    newest = ticks[-1] if ticks else cron.newest(last, now, 1)[-1]
    return Decision(watched, tuple(ticks), newest, cron.next(newest) or now + timedelta(days=1))
