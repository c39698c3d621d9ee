"""Mistakes of clients, for tests/faults/bugs.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jobplane.codecs import MsgspecCodec
from jobplane.sql import SQLValue, Statement
from jobplane.store.database import Database
from jobplane.store.rows import Row


def changes_are_sent_again() -> None:
    """A change whose answer was lost is sent again, whatever became of it."""

    async def blindly(self: Database, statement: Statement, args: Mapping[str, SQLValue]) -> Sequence[Row]:
        return [dict(row) for row in await self.fetch(statement, args)]

    Database.fetch_exactly_once = blindly  # type: ignore[method-assign]


def arguments_are_not_compared() -> None:
    """What can be read back is taken to be what was given."""

    def difference(self: MsgspecCodec, given: object, back: object) -> None:
        return None

    MsgspecCodec.difference = difference  # type: ignore[method-assign]
