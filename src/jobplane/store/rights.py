"""What each database role may do, read from the GRANTs of sql/roles: there it is said once, for PostgreSQL and for us."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from jobplane.sql import SQLValue

ROLES: Final = ("owner", "migrator", "enqueue", "worker", "api", "viewer")
_GRANT: Final = re.compile(
    r"^GRANT (?P<privileges>[A-Z, ]+?)(?: \((?P<columns>[a-z_, ]+)\))? ON (?P<kind>TABLE|FUNCTION|SCHEMA) "
    r"\{schema\}(?:\.(?P<object>\w+))? TO \{(?P<role>\w+)\};$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Right:
    """One privilege on one thing.

    Attributes:
        privilege: as in GRANT.
        kind: TABLE, FUNCTION or SCHEMA.
        name: of the table or function; empty for the schema.
        column: None for the whole table.
    """

    privilege: str
    kind: str
    name: str
    column: str | None = None

    def __str__(self) -> str:
        column = "" if self.column is None else f" ({self.column})"
        return f"{self.privilege}{column} on {self.name or 'the schema'}"


@cache
def script_files() -> Mapping[str, str]:
    """The scripts that set up roles, by name, in their order; they still hold their tokens."""
    folder = files("jobplane.sql").joinpath("roles")
    named = sorted((entry.name, entry) for entry in folder.iterdir() if entry.name[0].isdigit())
    return {name: entry.read_text(encoding="utf-8") for name, entry in named}


@cache
def rights() -> Mapping[str, Sequence[Right]]:
    """The rights of each role but the owner, who has all, and the migrator, who acts as the owner."""
    found: dict[str, list[Right]] = {}
    for grant in _GRANT.finditer("\n".join(script_files().values())):
        for privilege in grant["privileges"].split(", "):
            for column in (grant["columns"] or "").split(", "):
                right = Right(privilege, grant["kind"], grant["object"] or "", column or None)
                found.setdefault(grant["role"], []).append(right)
    return found


def parameters_of(wishes: Sequence[Right], role: str) -> dict[str, SQLValue]:
    """The parameters of roles/lacking."""
    return {
        "role": role,
        "kinds": [right.kind for right in wishes],
        "objects": [right.name for right in wishes],
        "columns": [right.column for right in wishes],
        "privileges": [right.privilege for right in wishes],
    }


def summary(found: Sequence[Right], most: int = 4) -> str:
    """Rights in words: the columns of one privilege together, and no more than a few."""
    together: dict[tuple[str, str], list[str]] = {}
    for right in found:
        columns = together.setdefault((right.privilege, right.name or "the schema"), [])
        if right.column is not None:
            columns.append(right.column)
    words = []
    for (privilege, name), columns in together.items():
        named = f" ({', '.join(columns)})" if columns else ""
        words.append(f"{privilege}{named} on {name}")
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return "; ".join(words[:most]) + more
