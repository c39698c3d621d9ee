"""Provisioning as a job, to copy from: `jobplane demo` runs it, and so does `jobplane worker control_plane:queue`.

A project gets a role, a database of its own that nobody else may enter, a schema in it, and an API key.

Workers die, so every step says "ensure": it looks at what an attempt before it left and goes on from there. The
order carries the weight: a secret is stored before anything is made that needs it, and the project is called ready
last, so that what is unfinished can be told from what a customer uses.

Environment:
    CONTROL_PLANE_PROVISIONER_URL   the server, as a role with CREATEDB and CREATEROLE; default DATABASE_URL
    CONTROL_PLANE_OWNER             whose databases and roles these are, as their comments say
    JOBPLANE_DEMO_SECRETS           the folder that stands for the platform's vault
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import os
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg

from jobplane import Fail, Fixed, JobContext, JobQueue, JobType

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

queue = JobQueue()

OWNER: Final = os.environ.get("CONTROL_PLANE_OWNER", "control plane")
PLANS: Final = {"free": 5, "team": 20, "enterprise": 100}
"""Connections that a project's role may hold at once, by plan."""
UNFINISHED: Final = "unfinished"
READY: Final = "ready"
SCRAM_ITERATIONS: Final = 4096  # PostgreSQL's default; nobody guesses 256 random bits, however fast


@dataclass(frozen=True)
class Project:
    """What to provision. Only the id ever becomes a name in the server: it is ours, the rest is a stranger's text."""

    id: UUID
    name: str
    slug: str
    plan: str
    owner: str
    region: str
    simulate: dict[str, int] = field(default_factory=dict)
    """For demonstrations: {"fail_attempts": n} makes the first n attempts meet a region that does not answer."""

    @property
    def role(self) -> str:
        """The name of the project's role and of its database."""
        return f"p_{self.id.hex}"

    def tag(self, state: str) -> str:
        """The comment that marks a role or database as this project's, and tells people its name."""
        return f"{OWNER}: project {self.id}, {state}: {self.name}"

    def is_tagged(self, tag: str | None, state: str = "") -> bool:
        """Whether a comment is one of ours for this project (in that state)."""
        return tag is not None and tag.startswith(f"{OWNER}: project {self.id}, {state}")


class RegionUnavailableError(Exception):
    """The region does not answer; it may do so later."""


class NotOursError(Exception):
    """Something that we did not make has the name that we need. No retry will change that."""


@queue.task(
    name=JobType.PROVISION_PROJECT,
    max_attempts=3,
    retry=Fixed(timedelta(minutes=5), never=(NotOursError,)),
    timeout=timedelta(minutes=2),
)
async def provision_project(ctx: JobContext, project: Project) -> dict[str, str] | Fail:
    """Give a project all that it needs. Returns names, never secrets: results are read by many."""
    if project.plan not in PLANS:
        return Fail(f"there is no plan {project.plan!r}: choose one of {', '.join(PLANS)}")
    try:
        return await provision(project, ctx.progress, attempt=ctx.attempt)
    except Exception:
        # Nobody will try again. (A worker that is killed here undoes nothing; the tag still tells what is unfinished.)
        if ctx.attempt >= ctx.max_attempts:
            await undo(project)
            ctx.progress(0.0, "taken back")
        raise


async def provision(
    project: Project, report: Callable[[float, str], None], *, attempt: int = 1
) -> dict[str, str]:
    """All steps in order; after each, `report` is told the fraction that is done, and what."""
    password = await asyncio.to_thread(secret, f"{project.role}.password")
    api_key = await asyncio.to_thread(secret, f"{project.role}.api_key")
    report(0.1, "secrets stored")
    async with server() as admin:
        await ensure_role(admin, project, password)
        report(0.2, "role created")
        await ensure_database(admin, project)
        report(0.6, "database created")
        await close_database(admin, project)
        report(0.7, "database closed to others")
        if attempt <= project.simulate.get("fail_attempts", 0):
            raise RegionUnavailableError(f"region {project.region!r} does not answer (simulated)")
        await ensure_schema(project, password)
        report(0.85, "schema created")
        await ensure_api_key(admin, project, api_key)
        report(0.95, "API key registered")
        await call_ready(admin, project)
        report(1.0, READY)
    return {"database": project.role, "role": project.role, "schema": "app"}


# -- the steps ---------------------------------------------------------------------------------------------------------


async def ensure_role(admin: Connection, project: Project, password: str) -> None:
    """A role that can log in with the password, however often this runs."""
    async with admin.transaction():
        await one_at_a_time(admin, project)
        found = await look(admin, project)
        if not found["has_role"]:
            await run(admin, "CREATE ROLE %I", project.role)
            # The state is kept here because nobody but us can change it: an owner may edit its database's comment.
            await run(admin, "COMMENT ON ROLE %I IS %L", project.role, project.tag(UNFINISHED))
            # Only a member may make another role the owner of a database; a superuser would not need this.
            await run(admin, "GRANT %I TO CURRENT_USER", project.role)
        elif not project.is_tagged(found["tag"]):
            raise NotOursError(f"role {project.role} exists, and its comment does not name this project")
        # Statements end up in the server's log and in pg_stat_activity. A verifier there lets nobody in; a password would.
        limit = str(PLANS[project.plan])
        verifier = scram_verifier(password)
        await run(admin, "ALTER ROLE %I LOGIN CONNECTION LIMIT %s PASSWORD %L", project.role, limit, verifier)


async def ensure_database(admin: Connection, project: Project) -> None:
    """A database that the role owns. CREATE DATABASE takes part in no transaction, so we look before and after."""
    if (await look(admin, project))["owner"] is None:
        # The default template may hold whatever someone once put into it; template0 is as PostgreSQL made it. Copying
        # files makes the drop cheap too, but means a checkpoint: on a server with much unwritten data leave it out.
        create = "CREATE DATABASE %I OWNER %I TEMPLATE template0 STRATEGY file_copy"
        # It was made meanwhile, by a twin of ours that lost its lease or by the backend of a killed one: as good.
        with contextlib.suppress(asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
            await run(admin, create, project.role, project.role)
    if (owner := (await look(admin, project))["owner"]) != project.role:
        raise NotOursError(f"database {project.role} exists, and belongs to {owner}")


async def close_database(admin: Connection, project: Project) -> None:
    """By default every role of the server may connect to every database: not to this one."""
    async with admin.transaction():
        await one_at_a_time(admin, project)
        await run(admin, "REVOKE ALL ON DATABASE %I FROM PUBLIC", project.role)
        await run(admin, "COMMENT ON DATABASE %I IS %L", project.role, project.tag("its database"))


async def ensure_schema(project: Project, password: str) -> None:
    """A schema and its first table, owned by the role.

    Made as the role itself: should this ever run again on a database that a customer has used, then whatever was
    planted there runs with the customer's rights and not with ours.
    """
    async with server(user=project.role, password=password, database=project.role) as own, own.transaction():
        await one_at_a_time(own, project)
        await own.execute("CREATE SCHEMA IF NOT EXISTS app")
        await own.execute(
            "CREATE TABLE IF NOT EXISTS app.notes ("
            "id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "
            "body text NOT NULL, "
            "written_at timestamptz NOT NULL DEFAULT now())"
        )


async def ensure_api_key(admin: Connection, project: Project, api_key: str) -> None:
    """The key's hash. A plain one will do: against 256 random bits no dictionary helps."""
    await admin.execute(
        "INSERT INTO control_plane_demo.api_keys (project_id, sha256) VALUES ($1, $2) "
        "ON CONFLICT (project_id) DO UPDATE SET sha256 = EXCLUDED.sha256",
        project.id,
        hashlib.sha256(api_key.encode()).digest(),
    )


async def call_ready(admin: Connection, project: Project) -> None:
    """The project is complete: from here on `undo` keeps its hands off it."""
    async with admin.transaction():
        await one_at_a_time(admin, project)
        await run(admin, "COMMENT ON ROLE %I IS %L", project.role, project.tag(READY))


async def undo(project: Project) -> None:
    """Take back what was begun. A database that was ready before, and so may hold a customer's data, stays."""
    async with server() as admin:
        found = await look(admin, project)
        if not project.is_tagged(found["tag"], UNFINISHED) or found["owner"] not in (None, project.role):
            return
        await run(admin, "DROP DATABASE IF EXISTS %I WITH (FORCE)", project.role)
        await admin.execute("DELETE FROM control_plane_demo.api_keys WHERE project_id = $1", project.id)
        await run(admin, "DROP ROLE IF EXISTS %I", project.role)
    for name in ("password", "api_key"):
        (_vault() / f"{project.role}.{name}").unlink(missing_ok=True)


# -- the server --------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def server(
    *, user: str | None = None, password: str | None = None, database: str | None = None
) -> AsyncIterator[Connection]:
    """A connection to the server that holds the projects: as the provisioner, or as someone else."""
    url = os.environ.get("CONTROL_PLANE_PROVISIONER_URL") or os.environ.get("DATABASE_URL")
    connection = await asyncpg.connect(
        url, user=user, password=password, database=database, timeout=10, command_timeout=60
    )
    try:
        yield connection
    finally:
        await connection.close(timeout=5)


async def run(admin: Connection, template: str, *values: str) -> None:
    """A statement that takes no parameters. PostgreSQL itself quotes: %I an identifier, %L a literal.

    By its own format: one of someone else's in public, for exactly these arguments, would be preferred to it.
    """
    statement = await admin.fetchval("SELECT pg_catalog.format($1, VARIADIC $2::text[])", template, values)
    await admin.execute(statement)


async def one_at_a_time(connection: Connection, project: Project) -> None:
    """Keep twins of this attempt out until the transaction ends: two ALTERs of one role at once would fail."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", project.role)


async def look(admin: Connection, project: Project) -> asyncpg.Record:
    """What there is of a project: whether its role, the role's comment, and who owns the database."""
    found = await admin.fetchrow(
        "SELECT r.oid IS NOT NULL AS has_role, shobj_description(r.oid, 'pg_authid') AS tag, "
        "(SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = wanted.name) AS owner "
        "FROM (VALUES ($1::name)) AS wanted (name) LEFT JOIN pg_roles AS r ON r.rolname = wanted.name",
        project.role,
    )
    assert found is not None  # VALUES always makes its row
    return found


# -- secrets -----------------------------------------------------------------------------------------------------------


def scram_verifier(password: str) -> str:
    """What PostgreSQL stores instead of a password: RFC 5802 section 3, with SHA-256 as RFC 7677 says.

    Passwords are normalised first (SASLprep); for the ASCII that `secret` makes, that changes nothing.
    """
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode("ascii"), salt, SCRAM_ITERATIONS)
    stored_key = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(part).decode() for part in (salt, stored_key, server_key))
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{salt64}${stored64}:{server64}"


def secret(name: str) -> str:
    """The secret of this name from the vault, made on first use.

    It is on the disk before it has its name, so it is whole or absent; and whoever comes second gets the first one's,
    because a link never replaces a file.
    """
    path = _vault() / name
    if not path.exists():
        unfinished = path.with_name(f"{name}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(32))
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    return path.read_text("ascii")


def _vault() -> Path:
    folder = Path(os.environ["JOBPLANE_DEMO_SECRETS"])
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
