"""How a worker deletes what is over: by itself, or under its role, which may not delete, through the owner's function."""

from __future__ import annotations

from jobplane.sql import Statement, load
from jobplane.store.database import Database


async def pruning(database: Database, verb: str) -> Statement:
    """The statement for job/prune, history/prune or schedule/prune that this role may run; their arguments are the same."""
    rows = await database.fetch(database.statement("job/may_delete"), {})
    if rows[0]["may"]:
        return database.statement(verb)
    return load(f"roles/{verb.replace('/', '_')}", database.settings.schema, verb=verb)
