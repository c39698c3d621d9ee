"""Wall clocks that are wrong, and jump at any moment, of single processes."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypedDict

from tests.faults.programs import LIBFAKETIME, need

CLOCKS: Final = ("+1h", "-1h", "+0", "+1d", "-10m")


class Skewed(TypedDict):
    """Variables of libfaketime."""

    LD_PRELOAD: str
    FAKETIME_TIMESTAMP_FILE: str
    FAKETIME_CACHE_DURATION: str
    FAKETIME_DONT_FAKE_MONOTONIC: str
    DONT_FAKE_MONOTONIC: str


def skewed(offset: Path) -> Skewed:
    """The environment of a process whose wall clock is off by what a file says; its monotonic clock is right."""
    return {
        "LD_PRELOAD": need(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_CACHE_DURATION": "1",  # without, each look at a clock would read the file
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
