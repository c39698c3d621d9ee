"""What the planner makes of a statement: the indexes, the kinds of nodes, and the pages it touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

from jobplane.sql import SQLValue, Statement
from tests.factories import SQL

Mode: TypeAlias = Literal["custom", "generic"]


@dataclass(frozen=True)
class Plan:
    """A plan, flattened."""

    indexes: frozenset[str]
    nodes: tuple[str, ...]
    filtered: int
    """Rows that were read and thrown away (only after running)."""
    buffers: int
    """Pages touched, found in memory or not (only after running)."""
    unused: frozenset[str]
    """Indexes that the plan names and the run never looked at (only after running)."""
    loops: Mapping[str, int]
    """How often each index was looked at (only after running)."""
    init_plans: frozenset[str]
    """The nodes that run once before all others, whatever the planner makes of the rest."""
    text: str

    def scans(self, table: str) -> set[str]:
        """How a table is read: the kinds of its scan nodes."""
        return {node.split(" on ")[0] for node in self.nodes if node.endswith(f" on {table}")}


async def explain(sql: SQL, query: str, *, run: bool = False) -> Plan:
    """The plan of a query without parameters; `run` executes it, inside a transaction that is rolled back."""
    options = "ANALYZE, BUFFERS, FORMAT JSON" if run else "FORMAT JSON"
    transaction = sql.transaction()
    await transaction.start()
    try:
        text: str = await sql.fetchval(f"EXPLAIN ({options}) {query}")
    finally:
        await transaction.rollback()
    root = json.loads(text)[0]["Plan"]
    nodes = list(_walk(root))
    return Plan(
        indexes=frozenset(str(node["Index Name"]) for node in nodes if "Index Name" in node),
        nodes=tuple(
            f"{node['Node Type']} on {node['Relation Name']}"
            if "Relation Name" in node
            else str(node["Node Type"])
            for node in nodes
        ),
        filtered=sum(_whole(node.get("Rows Removed by Filter")) for node in nodes),
        buffers=_whole(root.get("Shared Hit Blocks")) + _whole(root.get("Shared Read Blocks")),
        unused=frozenset(
            str(node["Index Name"])
            for node in nodes
            if "Index Name" in node and node.get("Actual Loops") == 0
        ),
        loops={
            str(node["Index Name"]): _whole(node.get("Actual Loops"))
            for node in nodes
            if "Index Name" in node
        },
        init_plans=frozenset(
            str(node["Node Type"]) for node in nodes if node.get("Parent Relationship") == "InitPlan"
        ),
        text=text,
    )


async def explain_statement(
    sql: SQL, statement: Statement, args: Mapping[str, SQLValue], mode: Mode = "custom", *, run: bool = False
) -> Plan:
    """The plan of one of our statements, as a prepared statement gets it: for these values, or for any."""
    values = ", ".join(_literal(value) for value in statement.positions(args))
    await sql.execute(f"SET plan_cache_mode = force_{mode}_plan")
    await sql.execute(f"PREPARE explained AS {statement.numbered}")
    try:
        return await explain(sql, f"EXECUTE explained({values})" if values else "EXECUTE explained", run=run)
    finally:
        await sql.execute("DEALLOCATE explained")


def _walk(node: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield node
    children = node.get("Plans", ())
    assert isinstance(children, list | tuple)
    for child in children:
        yield from _walk(child)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0


def _literal(value: SQLValue) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "'{" + ",".join("NULL" if item is None else json.dumps(str(item)) for item in value) + "}'"
    assert isinstance(value, str | UUID | datetime)
    return "'" + str(value).replace("'", "''") + "'"
