"""What a worker's role may not do by itself, it does through a function of the tables' owner: the same statement there.

Clients do the same to cancel and retry: see jobplane.client.ops.
"""

from __future__ import annotations

from jobplane.sql import Statement, load
from jobplane.store.database import Database


async def pruning(database: Database, verb: str) -> Statement:
    """The statement for job/prune, history/prune or schedule/prune that this role may run; their arguments are the same."""
    return await _allowed(database, verb, "job/may_delete")


async def ticking(database: Database) -> Statement:
    """The same for schedule/tick, which makes jobs."""
    return await _allowed(database, "schedule/tick", "job/may_insert")


async def _allowed(database: Database, verb: str, question: str) -> Statement:
    rows = await database.fetch(database.statement(question), {})
    if rows[0]["may"]:
        return database.statement(verb)
    return load(f"roles/{verb.replace('/', '_')}", database.settings.schema, verb=verb)
