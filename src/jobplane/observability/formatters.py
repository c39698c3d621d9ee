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
FACTS: Final = (
    "event",
    "outcome",
    "queue",
    "duration_ms",
    "again_in_s",
    "error_type",
    "error_at",
    "service",
    "worker_id",
)
"""Further fields of the worker's own records; JSON only, as the text has them in words."""
_FIELDS: Final = (*CONTEXT, *FACTS)


def printable(text: str, most: int = MOST_BYTES) -> str:
    """Text that stays on its line: whatever would steer a terminal or begin a line is written as an escape."""
    if len(text) > most:
        text = text[: most - 1] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123Z INFO    message`; an exception follows on lines that begin with a bar."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        line = f"{self._clock.text(record.created)} {record.levelname:<7} {printable(record.getMessage())}"
        if not hasattr(record, "event"):
            # The worker's own lines name the job in words.
            line += "".join(
                f" {name}={printable(str(value), 200)}"
                for name in CONTEXT
                if (value := getattr(record, name, None)) is not None
            )
        line = _cut(line, MOST_BYTES)
        return "\n".join([line, *_bars(self.formatException(record.exc_info))]) if record.exc_info else line


class JSONFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then what is known of the job."""

    def __init__(self) -> None:
        super().__init__()
        self._clock = _Clock()

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of JSON."""
        entry: dict[str, object] = {
            "time": self._clock.text(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        known = vars(record)
        for name in _FIELDS:
            value = known.get(name)
            if value is not None:
                entry[name] = value if isinstance(value, int | float) else str(value)
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return _fitted(entry)


class _Clock:
    """Times as ISO text. A busy worker writes thousands of lines in one second, so its text is kept."""

    def __init__(self) -> None:
        self._kept = (0, "")

    def text(self, created: float) -> str:
        """UTC, to the millisecond."""
        second = int(created)
        known, text = self._kept
        if second != known:
            text = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._kept = (second, text)
        return f"{text}.{int((created - second) * 1000):03}Z"


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


def _cut(line: str, most: int) -> str:
    if len(line) * 4 <= most:
        return line
    encoded = line.encode(errors="backslashreplace")
    return line if len(encoded) <= most else encoded[: most - 3].decode(errors="ignore") + "…"


def _bars(text: str) -> list[str]:
    # The end of a traceback says most, so the beginning is what gives way.
    lines = [f"  | {printable(line)}" for line in text.splitlines()]
    while sum(len(line) + 1 for line in lines) > MOST_BYTES:
        lines.pop(0)
    return lines
