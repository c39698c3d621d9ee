"""What an operation of the clients yields: statements to run, and pauses. Whoever drives it sends back the rows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from jobplane.sql import SQLValue
from jobplane.store.rows import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query:
    """One statement by name, with its arguments.

    Attributes:
        statement: folder and file, such as job/cancel.
        args: its parameters.
        verb: which statement it says it is, where it is another way to do the same; see jobplane.sql.load.
    """

    statement: str
    args: Mapping[str, SQLValue]
    verb: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to ask for now: go on after so many seconds."""

    seconds: float


Steps: TypeAlias = Generator[Query | Pause, Sequence[Row], T]
