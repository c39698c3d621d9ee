"""What `jobplane doctor` says of the rights of the role that it logs in as."""

from __future__ import annotations

from typing import Final

from jobplane.settings import DatabaseSettings
from jobplane.store.database import Connection
from jobplane.store.rights import summary
from jobplane.store.roles import abilities

_MAY: Final = {
    "worker": "run jobs",
    "api": "do what clients do",
    "enqueue": "enqueue through SQL",
    "viewer": "look",
}
"""What a role with all rights for a purpose may do."""


async def examine_rights(settings: DatabaseSettings, connection: Connection) -> tuple[bool | None, str, str]:
    """Whether it is fine, what was found, and what to do next."""
    lacks = await abilities(connection, settings.schema)
    if lacks is None:
        return None, "not looked at: the schema comes first", ""
    may = [words for purpose, words in _MAY.items() if not lacks[purpose]]
    if may:
        # Who may do anything else may look anyway.
        may = may[:-1] if len(may) > 1 and not lacks["viewer"] else may
        return True, f"this role may {', '.join(may)}", ""
    # What it has most of is what it is meant to be.
    purpose = min(("worker", "api"), key=lambda name: len(lacks[name]))
    return (
        False,
        f"this role may neither run jobs nor enqueue them; to {_MAY[purpose]} it lacks {summary(lacks[purpose])}",
        "jobplane roles apply makes roles that have what it takes: grant one of them to this role",
    )
