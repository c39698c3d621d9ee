"""A database with the roles set up, and logins that are members of one each: what an operator makes by hand."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from jobplane import DatabaseSettings
from jobplane.settings import resolve
from jobplane.store import roles
from tests.support import on_database

PASSWORD = "a-password-of-the-tests"


@dataclass(frozen=True)
class Guarded:
    """A migrated database whose roles begin with a prefix of its own, as roles are the whole server's."""

    url: str
    """As the superuser."""
    prefix: str

    def role(self, purpose: str) -> str:
        """The group role."""
        return f"{self.prefix}{purpose}"

    def url_of(self, purpose: str) -> str:
        """The URL of a login that is a member of that role, and of nothing else; nobody is a member of none."""
        parts = urlsplit(self.url)
        where = f"{parts.hostname}:{parts.port}"
        return urlunsplit(parts._replace(netloc=f"{self.prefix}{purpose}_login:{PASSWORD}@{where}"))

    def settings(self, purpose: str, **explicit: object) -> DatabaseSettings:
        """Settings for a login."""
        return resolve(DatabaseSettings, {}, url=self.url_of(purpose), **explicit).settings

    @property
    def admin(self) -> DatabaseSettings:
        """Settings for the superuser."""
        return resolve(DatabaseSettings, {}, url=self.url).settings


LOGINS = ("migrator", "enqueue", "worker", "api", "viewer", "nobody")


@contextmanager
def guarded_database(server_url: str, template: str) -> Iterator[Guarded]:
    """A fresh database with roles and logins; they go with it."""
    name = f"jobplane_test_{secrets.token_hex(6)}"
    guarded = Guarded(on_database(server_url, name), f"t{secrets.token_hex(4)}_")
    asyncio.run(_administer(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    try:
        asyncio.run(roles.apply(guarded.admin, guarded.prefix))
        asyncio.run(_administer(server_url, *_logins(guarded)))
        yield guarded
    finally:
        # The rights of a role are in the database: with that gone nothing holds the role any more.
        asyncio.run(_administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))
        asyncio.run(drop_roles(server_url, guarded.prefix))


async def drop_roles(server_url: str, prefix: str) -> None:
    """Drop all roles whose names begin with a prefix."""
    connection = await asyncpg.connect(server_url)
    rows = await connection.fetch("SELECT rolname FROM pg_roles WHERE starts_with(rolname, $1)", prefix)
    # All at once: whoever granted a membership cannot be dropped before it.
    if rows:
        await connection.execute("DROP ROLE " + ", ".join(row["rolname"] for row in rows))
    await connection.close()


def _logins(guarded: Guarded) -> Iterator[str]:
    for purpose in LOGINS:
        yield f"CREATE ROLE {guarded.role(purpose)}_login LOGIN PASSWORD '{PASSWORD}'"
        if purpose != "nobody":
            yield f"GRANT {guarded.role(purpose)} TO {guarded.role(purpose)}_login"


async def _administer(server_url: str, *statements: str) -> None:
    connection = await asyncpg.connect(server_url)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()
