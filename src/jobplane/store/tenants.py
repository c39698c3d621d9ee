"""Switches row security on and off: sql/roles/enable_tenants and disable_tenants, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from jobplane.errors import SchemaError
from jobplane.settings import DatabaseSettings
from jobplane.sql import load, quoted
from jobplane.store.roles import PREFIX, must_be_migrated, names, rendered
from jobplane.store.script import act_as_owner, connected, run


@dataclass(frozen=True, slots=True)
class TableStatus:
    """A table of jobs and its row security; `exempt` are the roles that see all tenants."""

    name: str
    enabled: bool
    forced: bool
    exempt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TenantsStatus:
    """Row security as the database has it; `untold` are unfinished jobs of no tenant, as far as we see them."""

    tables: tuple[TableStatus, ...]
    untold: int

    @property
    def enabled(self) -> bool:
        """Whether every table has it."""
        return all(table.enabled and table.forced for table in self.tables)


async def enable(settings: DatabaseSettings, prefix: str = PREFIX) -> None:
    """Let everyone but the owner and the workers see the rows of their own tenant only. Repeatable.

    Raises:
        SchemaError: there are no tables yet, or they do not belong to the owner's role: roles come first.
        StatementError: whoever is connected may not do this.
    """
    owner = names(prefix)["owner"]
    async with connected(settings, "tenants") as connection:
        await must_be_migrated(connection, settings.schema)
        found = await connection.fetchval(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = to_regclass($1)",
            f"{quoted(settings.schema)}.jobs",
        )
        if found != owner:
            # Who owns the tables would see nothing any more, and so would workers that run as that role.
            raise SchemaError(
                f"the jobs belong to {found}, not to {owner}: run jobplane roles apply --prefix {prefix} first, and "
                "grant the roles to those that your programs log in as"
            )
        await act_as_owner(connection, settings.schema)
        await run(connection, "tenants", _script("enable_tenants", settings.schema, prefix))


async def disable(settings: DatabaseSettings) -> None:
    """Take row security away again. Repeatable. Raises as `enable` does."""
    async with connected(settings, "tenants") as connection:
        await must_be_migrated(connection, settings.schema)
        await act_as_owner(connection, settings.schema)
        await run(connection, "tenants", _script("disable_tenants", settings.schema, PREFIX))


async def status(settings: DatabaseSettings) -> TenantsStatus:
    """Row security as it is."""
    async with connected(settings, "tenants") as connection:
        await must_be_migrated(connection, settings.schema)
        rows = await connection.fetch(load("roles/tenants", settings.schema).numbered)
        untold = await connection.fetchval(load("roles/untold", settings.schema).numbered)
    return TenantsStatus(
        tuple(TableStatus(row["name"], row["enabled"], row["forced"], tuple(row["exempt"])) for row in rows),
        int(untold),
    )


def _script(name: str, schema: str, prefix: str) -> str:
    folder = files("jobplane.sql").joinpath("roles")
    text = folder.joinpath(f"{name}.sql").read_text(encoding="utf-8")
    drop = folder.joinpath("disable_tenants.sql").read_text(encoding="utf-8")
    return rendered(text.replace("{drop}", drop), schema, prefix)
