"""The text of a cron expression: five fields as sets of numbers, each word checked."""

from __future__ import annotations

import calendar
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jobplane.errors import InvalidInputError

NICKNAMES: Final[Mapping[str, str]] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_SECONDS: Final = 24 * 3600
"""The longest interval of @every."""
LAST_DAY: Final = 32
"""Stands for `L` among the days of a month."""
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}
_EVERY: Final = re.compile(r"@every ([0-9]{1,6})(s|m|h)", re.ASCII)
_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_PART: Final = re.compile(r"(\*|[0-9a-z]{1,9})(?:-([0-9a-z]{1,9}))?(?:/([0-9]{1,4}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    least: int
    most: int
    names: Mapping[str, int]


_FIELDS: Final = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of the month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class CronFields:
    """What the five fields allow."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    """Of the month; LAST_DAY among them is its last."""
    months: frozenset[int]
    weekdays: frozenset[int]
    """Sunday is 0."""
    either_day: bool
    """Both kinds of days are restricted: one that fits is enough. As cron has it, `*/2` is no restriction here."""
    every_hour: bool


def interval_of(text: str) -> int:
    """The seconds of an `@every`, 0 for any other expression. Raises InvalidInputError."""
    words = text.lower()
    if not words.startswith("@every"):
        return 0
    match = _EVERY.fullmatch(words)
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_SECONDS:
        raise InvalidInputError("cron", text, "must be @every with 1s to 24h, as in @every 90s, 15m or 2h")
    return seconds


def fields_of(text: str, *, any_step: bool = False) -> CronFields:
    """The five fields, or those that a nickname stands for. Raises InvalidInputError.

    Unless `any_step`, also for a step that is wider than what it steps through: whoever writes `*/90` means every 90
    minutes, and gets every hour.
    """
    words = text.lower()
    if words.startswith("@") and words not in NICKNAMES:
        raise InvalidInputError(
            "cron", text, f"must be one of {', '.join(NICKNAMES)}, or @every with a number and s, m or h"
        )
    parts = NICKNAMES.get(words, words).split()
    if len(parts) != len(_FIELDS):
        raise InvalidInputError(
            "cron", text, "must have five fields: minute, hour, day of the month, month, day of the week"
        )
    minutes, hours, days, months, weekdays = (
        _values(text, field, part, any_step=any_step) for field, part in zip(_FIELDS, parts, strict=True)
    )
    fields = CronFields(
        minutes,
        hours,
        days,
        months,
        frozenset(day % 7 for day in weekdays),
        not parts[2].startswith("*") and not parts[4].startswith("*"),
        parts[1].startswith("*") or len(hours) == 24,
    )
    longest = max(calendar.monthrange(2024, month)[1] for month in months)  # a leap year
    if not fields.either_day and LAST_DAY not in days and min(days) > longest:
        raise InvalidInputError("cron", text, f"never runs: its months have {longest} days at most")
    return fields


def _values(text: str, field: _Field, words: str, *, any_step: bool) -> frozenset[int]:
    found: set[int] = set()
    for word in words.split(","):
        if word == "l" and field.name == "day of the month":
            found.add(LAST_DAY)
            continue
        match = _PART.fullmatch(word)
        if match is None or (match[1] == "*" and match[2] is not None):
            raise _wrong(text, field, word)
        step = int(match[3] or 1)
        least = field.least if match[1] == "*" else _number(text, field, match[1])
        most = least
        if match[2] is not None:
            most = _number(text, field, match[2])
        elif match[1] == "*" or match[3] is not None:
            most = field.most
        if step < 1 or most < least:
            raise _wrong(text, field, word)
        if match[3] is not None and step > most - least and not any_step:
            raise InvalidInputError(
                "cron",
                text,
                f"must have steps of at most {most - least} from {least} to {most} as its {field.name}, not {word[:20]}, "
                f"which is {least} alone: write that, or for an interval @every, as in @every 90m",
            )
        found.update(range(least, most + 1, step))
    return frozenset(found)


def _number(text: str, field: _Field, word: str) -> int:
    number = field.names.get(word, int(word) if word.isdecimal() else -1)
    if not field.least <= number <= field.most:
        raise _wrong(text, field, word)
    return number


def _wrong(text: str, field: _Field, word: str) -> InvalidInputError:
    names = f" or {', '.join(field.names)}" if field.names else ""
    return InvalidInputError(
        "cron",
        text,
        f"must have numbers from {field.least} to {field.most}{names}, ranges (1-5), lists (1,3) and steps (*/2) "
        f"as its {field.name}, not {word[:20]}",
    )
