"""An exception as data that can always be stored: bounded, printable, without the values of locals (I19, S5)."""

from __future__ import annotations

import re
import traceback
from dataclasses import dataclass, field
from typing import Final

from jobplane.redaction import redacted

MAX_MESSAGE_BYTES: Final = 4096
MAX_FRAMES: Final = 20
MAX_FRAME_BYTES: Final = 190
_OWN_CODE: Final = __file__.removesuffix("failure.py")
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """The type, message and frames of an error; together under 8 KiB of valid text."""

    type: str
    message: str = field(repr=False)  # whoever prints an event means no message: it is kept with the job
    frames: tuple[str, ...] = ()

    def line(self) -> str:
        """Type and message on one line, as shown in last_error."""
        return f"{self.type}: {self.message}" if self.message else self.type


def report_of(error: BaseException) -> ErrorReport:
    """The report of any exception, also of one whose __str__ raises or answers 10 MB."""
    return ErrorReport(type=_type_of(error), message=_message_of(error), frames=_frames_of(error))


def storable(text: str, most_bytes: int = MAX_MESSAGE_BYTES) -> str:
    """Text that PostgreSQL stores: no NUL, no lone surrogate, cut to `most_bytes` on a code point."""
    clean = _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text[:most_bytes])
    encoded = clean.encode()
    if len(encoded) <= most_bytes and len(text) <= most_bytes:
        return clean
    return encoded[: most_bytes - 3].decode(errors="ignore") + "…"


def message_of(text: str) -> str:
    """A message as it is kept: storable, with what looks like a secret starred out."""
    return storable(redacted(text, MAX_MESSAGE_BYTES))


def _type_of(error: BaseException) -> str:
    try:
        return storable(type(error).__qualname__, 200)
    except BaseException:  # noqa: BLE001 - a metaclass may answer anything
        return "<an exception without a name>"


def _message_of(error: BaseException) -> str:
    try:
        return message_of(str(error))
    except BaseException as broken:  # noqa: BLE001 - whatever __str__ does, the outcome must be stored
        return f"<message unavailable: __str__ raised {_type_of(broken)}>"


def _frames_of(error: BaseException) -> tuple[str, ...]:
    # File, line and function only: source text and locals may hold secrets.
    try:
        summary = traceback.StackSummary.extract(
            traceback.walk_tb(error.__traceback__), limit=-MAX_FRAMES, lookup_lines=False
        )
    except Exception:  # noqa: BLE001 - a damaged traceback must not cost the report
        return ()
    # How jobplane came to call the handler is the same each time, and explains nothing.
    theirs = [frame for frame in summary if not frame.filename.startswith(_OWN_CODE)]
    return tuple(_frame(f"{frame.filename}:{frame.lineno} {frame.name}") for frame in theirs)


def _frame(text: str) -> str:
    # Stored as JSON, where a control character takes six bytes.
    printable = "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: MAX_FRAME_BYTES + 1]
    )
    return storable(printable, MAX_FRAME_BYTES)
