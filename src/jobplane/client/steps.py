"""What an operation of the clients yields: statements to run, and pauses. Whoever drives it sends back the rows."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from jobplane.sql import SQLValue
from jobplane.store.doubt import Doubt
from jobplane.store.rows import Row

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Query:
    """One statement by name, with its arguments.

    Attributes:
        statement: folder and file, such as job/cancel.
        args: its parameters.
        doubt: learns whether an earlier try may have been done, where the statement is sent again after a lost answer;
            for statements that do no harm then.
        once: the statement must take effect once: it is sent again only after a try that certainly had none.
        verb: which statement it says it is, where it is another way to do the same; see jobplane.sql.load.
    """

    statement: str
    args: Mapping[str, SQLValue]
    doubt: Doubt | None = None
    once: bool = False
    verb: str | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing to ask for now: go on after so many seconds."""

    seconds: float


Steps: TypeAlias = Generator[Query | Pause, Sequence[Row], T]
