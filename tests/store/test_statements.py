"""Every statement file is one statement that PostgreSQL accepts, in the notations of both drivers."""

from __future__ import annotations

import asyncpg
import psycopg
import pytest

from jobplane.sql import load
from tests.unit.test_sql import NAMES

UTILITIES = ("history/on", "history/off")
"""Statements that have no plan."""


@pytest.mark.parametrize("name", NAMES)
async def test_the_statement_is_accepted_in_both_notations(database_url: str, name: str) -> None:
    statement = load(name)

    numbered = await asyncpg.connect(database_url)
    prepared = await numbered.prepare(statement.numbered)
    assert len(prepared.get_parameters()) == len(statement.parameters)
    await numbered.close()
    async with await psycopg.AsyncConnection.connect(database_url) as named:
        nothing = dict.fromkeys(statement.parameters)
        if name in UTILITIES:
            await named.execute(statement.pyformat.encode(), nothing)
        else:
            plan = await named.execute(f"EXPLAIN {statement.pyformat}".encode(), nothing)
            assert await plan.fetchall()
