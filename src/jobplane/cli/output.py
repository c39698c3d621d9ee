"""How commands answer: tables for people, whole and plain when nobody looks, and JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobplane.observability.formatters import printable

UNLIMITED: Final = 100_000
"""Columns of output that no terminal shows: a pipe gets every cell in full, a row in one line."""


def console() -> Console:
    """Where answers are drawn. Into a pipe or a file: no colour, nothing cut."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, color_system=None, width=UNLIMITED, legacy_windows=False)


def plain(value: object) -> Text:
    """A value as it is: no markup, nothing that would steer the terminal. None is a dash."""
    return Text("-" if value is None else printable(str(value)))


def print_table(headings: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Rows under headings. Columns whose heading ends in a space are numbers, and stand to the right."""
    out = console()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        name = heading.rstrip()
        table.add_column(name, justify="right" if name != heading else "left", overflow="ellipsis", no_wrap=True)
    count = 0
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
        count += 1
    if count:
        out.print(table)
    else:
        out.print(empty)


def print_json(document: Mapping[str, object] | Sequence[object]) -> None:
    """One document on stdout."""
    # ASCII only: a payload may hold what a terminal obeys.
    sys.stdout.write(json.dumps(document, indent=2) + "\n")
