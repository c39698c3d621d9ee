"""Cron expressions: which times they mean. Pure; every answer is found in bounded time.

Five fields (minute, hour, day of the month, month, day of the week) with names, ranges, steps and lists, `L` for the
last day of the month, `@hourly` and its siblings, and `@every 90s` for plain intervals counted from the epoch.

The clock change, as cron has it: an expression with fixed hours runs once for each of its local times, at the first
of two where the hour comes twice, and as long after the gap as it lies in it where the hour is left out. One whose
hour is `*` follows real time, so that `*/15` runs every 15 minutes, whatever the clocks show.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from heapq import heappop, heappush
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from jobplane.cron_fields import LAST_DAY, CronFields, fields_of, interval_of
from jobplane.errors import InvalidInputError

MAX_LENGTH: Final = 255
LOOK_AHEAD: Final = 9 * 366
"""Days. Further apart are no two ticks: 29 February is missing in 2100, so eight years pass."""
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST: Final = date.max.toordinal() - 3
_STEP: Final = timedelta(days=7)
"""No time zone changes its clocks twice within so long."""


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression in a time zone. Made by `parse_cron`.

    Attributes:
        text: as it was given, single blanks between its words.
        zone: the time zone in which its hours and days are meant.
        interval: the seconds of an `@every`; 0 for five fields.
    """

    text: str
    zone: ZoneInfo
    interval: int
    _fields: CronFields | None
    _times: tuple[time, ...]
    """The times of a day, in order."""

    def ticks(self, after: datetime) -> Iterator[datetime]:
        """All times after a timezone-aware one, in order, in UTC. Ends only where the calendar does."""
        start = after.astimezone(UTC)
        if self._fields is None:
            return self._intervals(start)
        return self._real(start) if self._fields.every_hour else self._fixed(start)

    def next(self, after: datetime) -> datetime | None:
        """The first time after a timezone-aware one, in UTC; None where the calendar ends (year 9999)."""
        return next(self.ticks(after), None)

    def newest(self, after: datetime, until: datetime, most: int) -> list[datetime]:
        """The last `most` of the times after `after` and not after `until`, in order.

        The work is bounded by what is asked for, however long the time between.
        """
        span = timedelta(hours=1)
        if self.interval:
            span = timedelta(seconds=self.interval * most)
        while True:
            start = max(after, until - span) if until - after > span else after
            found = self._until(start, until)
            if len(found) >= most or start == after:
                return found[-most:]
            span *= 4

    def _until(self, after: datetime, until: datetime) -> list[datetime]:
        found = []
        for tick in self.ticks(after):
            if tick > until:
                break
            found.append(tick)
        return found

    def _intervals(self, after: datetime) -> Iterator[datetime]:
        step = timedelta(seconds=self.interval)
        count = (after - _EPOCH) // step + 1
        while True:
            try:
                yield _EPOCH + count * step
            except OverflowError:
                return
            count += 1

    # -- fixed hours -----------------------------------------------------------------------------------

    def _fixed(self, after: datetime) -> Iterator[datetime]:
        # Two days early: a time that the clocks left out comes later than its day says.
        waiting: list[datetime] = []
        last = after
        for day in self._dates(_local(after, self.zone).date() - timedelta(days=2)):
            if self._instant(datetime.combine(day + timedelta(days=1), time(3))) <= after:
                continue  # all over, whatever the clocks do around midnight
            midnight = self._instant(datetime.combine(day, time()))
            # What lies before the day's first time, with a margin for a gap around midnight, is complete.
            while waiting and waiting[0] < midnight - timedelta(hours=2):
                tick = heappop(waiting)
                if tick > last:
                    last = tick
                    yield tick
            for at in self._times:
                tick = self._instant(datetime.combine(day, at))
                if tick > last:
                    heappush(waiting, tick)

    def _instant(self, naive: datetime) -> datetime:
        # fold=0: the first of two; in a gap, the offset from before it, which leads beyond the gap.
        return naive.replace(tzinfo=self.zone).astimezone(UTC)

    def _dates(self, first: date) -> Iterator[date]:
        """The matching dates from the first on."""
        fields = self._fields
        assert fields is not None  # intervals have no dates
        ordinal = first.toordinal()
        end = ordinal + LOOK_AHEAD
        while ordinal <= min(end, _LAST):
            day = date.fromordinal(ordinal)
            in_month = calendar.monthrange(day.year, day.month)[1]
            if day.month not in fields.months:
                ordinal += in_month - day.day + 1
                continue
            if _fits(day, in_month, fields):
                yield day
                end = ordinal + LOOK_AHEAD
            ordinal += 1

    # -- every hour ------------------------------------------------------------------------------------

    def _real(self, after: datetime) -> Iterator[datetime]:
        """Walks from one change of the clocks to the next; in between local time is UTC and an offset."""
        begin = after
        inclusive = False
        while True:
            offset = _offset(begin, self.zone)
            change = None
            for naive in self._naive(_local(begin, self.zone), inclusive=inclusive):
                tick = naive.replace(tzinfo=UTC) - offset
                change = self._change(begin, tick, offset)
                if change is not None:
                    break
                yield tick
                begin = tick
            if change is None:
                return
            begin, inclusive = change, True

    def _change(self, begin: datetime, end: datetime, offset: timedelta) -> datetime | None:
        """The first moment in (begin, end] with another offset."""
        probe = begin
        while probe < end:
            earlier, probe = probe, min(probe + _STEP, end)
            if _offset(probe, self.zone) != offset:
                while probe - earlier > timedelta(seconds=1):
                    middle = earlier + ((probe - earlier) / 2 // timedelta(seconds=1)) * timedelta(seconds=1)
                    middle = middle if middle > earlier else earlier + timedelta(seconds=1)
                    if _offset(middle, self.zone) == offset:
                        earlier = middle
                    else:
                        probe = middle
                return probe.replace(microsecond=0)
        return None

    def _naive(self, begin: datetime, *, inclusive: bool) -> Iterator[datetime]:
        """The matching local times from one on, as if clocks never changed."""
        first = begin.date()
        for day in self._dates(first):
            start = 0
            if day == first:
                start = bisect_left(self._times, begin.time())
                if not inclusive and start < len(self._times) and self._times[start] == begin.time():
                    start += 1
            for at in islice(self._times, start, None):
                yield datetime.combine(day, at)


def _fits(day: date, in_month: int, fields: CronFields) -> bool:
    by_month = day.day in fields.days or (day.day == in_month and LAST_DAY in fields.days)
    by_week = day.isoweekday() % 7 in fields.weekdays
    return by_month or by_week if fields.either_day else by_month and by_week


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None)


def _offset(moment: datetime, zone: ZoneInfo) -> timedelta:
    return moment.astimezone(zone).utcoffset() or timedelta(0)


@lru_cache(maxsize=1024)
def parse_cron(text: str, timezone: str = "UTC", *, stored: bool = False) -> Cron:
    """An expression, checked. Raises InvalidInputError, which names the field, the value and the limit.

    Args:
        text: five fields, a nickname such as @daily, or @every with a number and s, m or h.
        timezone: a name of the IANA database, such as Europe/Berlin.
        stored: it was accepted once, and goes on to mean what it meant; stricter checks since then do not apply.
    """
    zone = parse_zone(timezone)
    if len(text) > MAX_LENGTH or not text.isascii():
        raise InvalidInputError("cron", text, f"must be at most {MAX_LENGTH} ASCII characters")
    text = " ".join(text.split())
    if interval := interval_of(text):
        return Cron(text, zone, interval, None, ())
    fields = fields_of(text, any_step=stored)
    times = tuple(time(hour, minute) for hour in sorted(fields.hours) for minute in sorted(fields.minutes))
    return Cron(text, zone, 0, fields, times)


def parse_zone(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA database. Raises InvalidInputError."""
    limit = "must be a time zone such as UTC or Europe/Berlin (where the system has none: pip install tzdata)"
    if not _ZONE.fullmatch(name):
        raise InvalidInputError("timezone", name, limit)
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of the database, or no such file
        raise InvalidInputError("timezone", name, limit) from None
