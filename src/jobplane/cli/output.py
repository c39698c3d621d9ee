"""How commands answer: tables for people, whole and plain when nobody looks, and JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jobplane.observability.formatters import printable

UNLIMITED: Final = 100_000
"""Columns of output that no terminal shows: a pipe gets every cell in full, a row in one line."""

BETWEEN: Final = 2
"""Blanks between two columns, as Rich puts them there."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        heading: what stands above it.
        number: stands to the right.
        room: how many characters of it are kept however narrow the terminal is.
        optional: is left out where it would not fit.
        prose: goes on in further lines instead of being cut.
    """

    heading: str
    number: bool = False
    room: int = 200
    optional: bool = False
    prose: bool = False


def console() -> Console:
    """Where answers are drawn on a terminal."""
    return Console(highlight=False)


def plain(value: object) -> Text:
    """A value as it is: no markup, nothing that would steer the terminal. None is a dash."""
    return Text("-" if value is None else printable(str(value)))


def print_table(columns: Sequence[Column | str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """Rows under headings, or `empty`. A column given as a string has that heading."""
    specified = [Column(column) if isinstance(column, str) else column for column in columns]
    cells = [[cell if isinstance(cell, Text) else plain(cell) for cell in row] for row in rows]
    if not cells:
        sys.stdout.write(f"{empty}\n")
        return
    rooms = [
        min(
            max(len(column.heading), *(len(row[number]) for row in cells)),
            max(column.room, len(column.heading)),
        )
        for number, column in enumerate(specified)
    ]
    table = Table(box=None, pad_edge=False, header_style="bold")
    kept = _fitting(specified, rooms)
    for number in kept:
        column = specified[number]
        table.add_column(
            column.heading,
            justify="right" if column.number else "left",
            overflow="fold" if column.prose else "ellipsis",
            no_wrap=not column.prose,
            min_width=rooms[number],
        )
    for row in cells:
        table.add_row(*(row[number] for number in kept))
    _draw(table)


def _fitting(columns: Sequence[Column], rooms: Sequence[int]) -> list[int]:
    kept = list(range(len(columns)))
    for number in reversed(kept.copy()):
        needed = sum(rooms[other] + BETWEEN for other in kept) - BETWEEN
        if sys.stdout.isatty() and needed > console().width and columns[number].optional:
            kept.remove(number)
    return kept


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Names and values, one under the other; long values go on below themselves."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(plain(name), value if isinstance(value, Text) else plain(value))
    _draw(table)


def print_json(document: Mapping[str, object] | Sequence[object]) -> None:
    """One document on stdout."""
    # ASCII only: a payload may hold what a terminal obeys.
    try:
        text = json.dumps(document, indent=2, allow_nan=False)
    except ValueError:
        # A number beyond Python's, which reads as infinite, is a string here: JSON has no other word for it.
        text = json.dumps(json.loads(json.dumps(document), parse_constant=str), indent=2)
    sys.stdout.write(f"{text}\n")


def _draw(table: Table) -> None:
    if sys.stdout.isatty():
        console().print(table)
        return
    # Into a pipe or a file: no colour, nothing cut, nothing filled up with blanks.
    page = StringIO()
    Console(file=page, color_system=None, width=UNLIMITED).print(table)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())
