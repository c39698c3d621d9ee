"""What a job may look like, and the checks that say so before anything is written.

The numbers are the contract's (docs/guide/jobs.md lists them); each check names field, value and limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final

from jobplane.encoding import plain_datetime, plain_scalar
from jobplane.errors import InvalidInputError

MAX_PAYLOAD_BYTES: Final = 1024 * 1024
MAX_RESULT_BYTES: Final = 1024 * 1024
MAX_JSON_DEPTH: Final = 64
MAX_ATTEMPTS: Final = 100
DEFAULT_MAX_ATTEMPTS: Final = 3
MAX_DELAY: Final = timedelta(hours=24)
MAX_SCHEDULE_AHEAD: Final = timedelta(days=366)
MAX_PRIORITY: Final = 1000
MAX_KEY_LENGTH: Final = 255
MAX_TAGS: Final = 20
MAX_RUNNING: Final = 100_000
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}", re.ASCII)
_TENANT: Final = re.compile(r"[A-Za-z0-9._-]{1,100}", re.ASCII)


def check_type(value: object) -> str:
    """A job type: 1 to 100 characters of A-Z, a-z, 0-9, underscore and hyphen."""
    return _check_name("type", value)


def check_queue(value: object) -> str:
    """A queue's name: the same characters as a type."""
    return _check_name("queue", value)


def check_schedule(value: object) -> str:
    """A schedule's name: the same characters as a type."""
    return _check_name("name", value)


def check_priority(value: object) -> int:
    """A priority: 0 (the default) to 1000; higher runs first."""
    return check_whole("priority", value, 0, MAX_PRIORITY)


def check_max_attempts(value: object) -> int:
    """How many times a job may be claimed: 1 to 100, the first try included."""
    return check_whole("max_attempts", value, 1, MAX_ATTEMPTS)


def check_delay(value: object) -> timedelta:
    """A delay as timedelta or seconds: 0 to 24 hours. Further ahead is `schedule`'s business."""
    limit = "must be a timedelta or seconds between 0 and 24 hours (use schedule for later times)"
    delay = as_timedelta("delay", value, limit)
    if not timedelta(0) <= delay <= MAX_DELAY:
        raise InvalidInputError("delay", value, limit)
    return delay


def check_scheduled_at(value: object) -> datetime:
    """A due time: timezone-aware, at most a year ahead. A time in the past is due at once."""
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        raise InvalidInputError(
            "scheduled_at", value, "must be a datetime with a time zone, such as datetime.now(UTC)"
        )
    try:
        due = plain_datetime(value)
        due.astimezone(UTC)
    except TypeError as error:
        raise InvalidInputError("scheduled_at", str(error), "must be a time in whole microseconds") from None
    except OverflowError:  # the first and last hours of the calendar, which the driver could not send
        raise InvalidInputError(
            "scheduled_at", value.isoformat(), "must be a time that UTC has too"
        ) from None
    if due > datetime.now(UTC) + MAX_SCHEDULE_AHEAD:
        raise InvalidInputError("scheduled_at", value.isoformat(), "must be at most a year (366 days) ahead")
    return due


def check_key(field: str, value: object) -> str:
    """A unique key or idempotency key: 1 to 255 printable characters."""
    limit = f"must be 1 to {MAX_KEY_LENGTH} printable characters"
    if not isinstance(value, str):
        raise InvalidInputError(field, value, limit)
    key = str.__str__(value)
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise InvalidInputError(field, value, limit)
    return key


def check_tenant(value: object) -> str:
    """A tenant: the characters of a type, and the dot, since tenants are often named by their domains."""
    if not isinstance(value, str) or not _TENANT.fullmatch(value):
        raise InvalidInputError(
            "tenant", value, "must be 1 to 100 characters of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return str.__str__(value)


def check_tags(value: Iterable[object]) -> tuple[str, ...]:
    """Tags: at most 20, each 1 to 255 printable characters."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise InvalidInputError("tags", value, "must be a list of strings, not one string")
    tags = tuple(check_key("tags", tag) for tag in value)
    if len(tags) > MAX_TAGS:
        raise InvalidInputError("tags", len(tags), f"must be at most {MAX_TAGS}")
    return tags


def check_whole(field: str, value: object, least: int, most: int) -> int:
    """A whole number within its edges, also one of another class of whole numbers (numpy.int64)."""
    try:
        number = plain_scalar(value)
    except TypeError:
        number = None
    if type(number) is not int or not least <= number <= most:
        raise InvalidInputError(field, value, f"must be a whole number from {least} to {most}")
    return number


def as_timedelta(field: str, value: object, limit: str) -> timedelta:
    """A timedelta from itself or from seconds; the error names the field."""
    if type(value) is timedelta:
        return value
    try:
        plain = plain_scalar(value)
        if isinstance(plain, timedelta):
            return plain
        if isinstance(plain, int | float) and not isinstance(plain, bool):
            return timedelta(seconds=plain)
    except (OverflowError, ValueError, TypeError):  # beyond what a timedelta holds, or not a number
        raise InvalidInputError(field, value, limit) from None
    raise InvalidInputError(field, value, limit)


def _check_name(field: str, value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInputError(field, value, "must be 1 to 100 characters of A-Z, a-z, 0-9, '_' and '-'")
    return str.__str__(value)  # of a member of an Enum, str() would be the name of the member
