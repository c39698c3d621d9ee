"""Log records as lines that cannot lie: control characters are escaped and sizes are capped (S17)."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Final

MOST_BYTES: Final = 8192
"""The longest line, in bytes."""
CONTEXT: Final = ("job_id", "job_type", "attempt")
"""What a record may say of the job that it is about, in this order."""
FACTS: Final = ("event", "outcome", "queue", "duration_ms", "error_type", "error_at", "service", "worker_id")
"""Further fields of the worker's own records; JSON only, as the text has them in words."""
_LEVEL_WIDTH: Final = 7


def printable(text: str, most: int = MOST_BYTES) -> str:
    """Text that stays on its line: whatever would steer a terminal or begin a line is written as an escape."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO    message`; an exception follows on lines that begin with a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        context = "".join(
            f" {name}={printable(str(value), 200)}"
            for name in CONTEXT
            if (value := getattr(record, name, None)) is not None and not hasattr(record, "event")
        )
        line = (
            f"{_time_of(record)} {record.levelname:<{_LEVEL_WIDTH}} {printable(record.getMessage())}{context}"
        )
        return "\n".join([_cut(line, MOST_BYTES), *_bars(self._exception_of(record))])

    def _exception_of(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what is known of the job."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of JSON."""
        entry: dict[str, object] = {
            "time": _time_of(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for name in (*CONTEXT, *FACTS):
            value = getattr(record, name, None)
            if value is not None:
                entry[name] = value if isinstance(value, int | float) else str(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _fitted(entry)


def _fitted(entry: dict[str, object]) -> str:
    line = json.dumps(entry)
    most = MOST_BYTES
    while len(line) > MOST_BYTES:
        # An escaped character takes up to twelve bytes, so it may need a few rounds.
        most //= 2
        entry = {
            name: value if not isinstance(value, str) or len(value) <= most else value[:most] + "…"
            for name, value in entry.items()
        }
        line = json.dumps(entry)
    return line


def _time_of(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _cut(line: str, most: int) -> str:
    encoded = line.encode(errors="backslashreplace")
    return line if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "…"


def _bars(text: str) -> list[str]:
    # The end of a traceback says most, so the beginning is what gives way.
    lines = [f"  | {printable(line)}" for line in text.splitlines()]
    while sum(len(line) + 1 for line in lines) > MOST_BYTES:
        lines.pop(0)
    return lines
