"""The ground that the demo stands on: a server, kept from other demos, and swept of whatever demos leave."""

from __future__ import annotations

import asyncio
import atexit
import hashlib
import shlex
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from uuid import UUID

from jobplane.client.queue import JobQueue
from jobplane.embedded import EmbeddedServer, default_data_dir
from jobplane.errors import ConfigurationError, JobplaneError
from jobplane.settings import DatabaseSettings, resolve
from jobplane.store.database import Connection, Database

OWNER: Final = "jobplane demo"
"""How the comments of all databases and roles begin that demos made. Nothing else is ever dropped."""
TAG: Final = "jobplane-demo"
"""A tag of all jobs of all demos."""
RUN_PREFIX: Final = f"{TAG}-"
"""Each run has a queue of its own, and its name begins like this."""
KEYS: Final = "control_plane_demo"
"""The schema of the example's own tables."""
SIGNALS: Final = tuple(
    signal.Signals[name] for name in ("SIGINT", "SIGTERM", "SIGHUP") if name in signal.Signals.__members__
)
"""What ends a demo: in order, and with nothing left."""
DROPPERS: Final = 4
SILENCE: Final = 3.0
"""Seconds without a heartbeat after which a worker of an earlier run is taken for dead."""
ORPHANS_MAY_TAKE: Final = 15.0
"""Seconds in which workers whose demo was killed must have ended."""


class AnotherDemoError(JobplaneError):
    """Another demo uses this server. Wait for its end, or choose another server with --data-dir."""


@dataclass(slots=True)
class Server:
    """A server to run on."""

    settings: DatabaseSettings
    url: str
    state: Path
    """The folder for what the demo itself keeps: secrets and logs."""
    embedded: EmbeddedServer | None
    keep_running: bool = False
    """Do not stop the embedded server at the end: the next to use its folder joins it."""

    @property
    def secrets(self) -> Path:
        """The folder that stands for a vault."""
        return self.state / "secrets"

    def location_of(self, role: str) -> str:
        """Where psql finds the role's database, without its password."""
        return shlex.quote(as_someone(self.url, role, "", role))


@contextmanager
def server_for(
    environ: Mapping[str, str], database_url: str | None, data_dir: Path | None, say: Callable[[str], None]
) -> Iterator[Server]:
    """The server that is asked for: a URL, a data folder, what the environment names, or the embedded one."""
    if database_url is not None and data_dir is not None:
        raise ConfigurationError("--database-url and --data-dir exclude each other: choose one")
    explicit = {} if database_url is None else {"url": database_url}
    found = resolve(DatabaseSettings, environ, **explicit).settings
    if data_dir is None and found.is_given:
        url = url_of(found)
        place = hashlib.sha256(as_someone(url, "", "").encode()).hexdigest()[:12]
        settings = resolve(DatabaseSettings, environ, url=url).settings
        yield Server(settings, url, default_data_dir().parent / f"demo-{place}", None)
        return
    embedded = EmbeddedServer(data_dir)
    server = Server(
        found, "", embedded.data_dir.with_name(f"{embedded.data_dir.name}.demo"), embedded=embedded
    )
    say(f"starting PostgreSQL in {embedded.data_dir}")
    try:
        server.url = embedded.start()
        server.settings = resolve(DatabaseSettings, environ, url=server.url).settings
        yield server
    finally:
        # A second Ctrl-C must not leave it half stopped.
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if server.keep_running:
            atexit.unregister(embedded.stop)
        else:
            embedded.stop()


def url_of(settings: DatabaseSettings) -> str:
    """Settings by parts as one URL, for the environment of workers."""
    if settings.url is not None:
        return settings.url
    host = settings.host or ""
    query: dict[str, str] = {"sslmode": settings.sslmode}
    if host.startswith("/"):  # the folder of a Unix socket has no place before the path
        query |= {"host": host, "port": str(settings.port)}
        host = ""
    else:
        host = f"{host}:{settings.port}"
    bare = f"postgresql://{host}/{quote(settings.name, safe='')}?{urlencode(query)}"
    return as_someone(bare, settings.user or "", settings.password or "")


def as_someone(url: str, user: str, password: str, database: str | None = None) -> str:
    """The same server's URL for someone else."""
    parts = urlsplit(url)
    where = parts.netloc.rpartition("@")[2]
    who = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    path = parts.path if database is None else f"/{quote(database, safe='')}"
    named = {"user", "password"} | ({"dbname", "database"} if database is not None else set())
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in named]
    # urlunsplit would leave out the slashes before an empty host.
    return f"{parts.scheme}://{who + '@' if who else ''}{where}{path}" + (
        f"?{urlencode(query)}" if query else ""
    )


class Ground:
    """A server that no other demo uses meanwhile."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.database = Database(server.settings, size=DROPPERS + 1, application_name=OWNER)

    @asynccontextmanager
    async def claimed(self) -> AsyncIterator[None]:
        """Keep other demos out. Raises AnotherDemoError."""
        lock = await self.database.patiently("connecting", self.database.connect)
        try:
            # The session of a demo that was just killed may take a moment to notice.
            end = time.monotonic() + 3
            while not await lock.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", OWNER):
                if time.monotonic() > end:
                    raise AnotherDemoError(AnotherDemoError.__doc__)
                await asyncio.sleep(0.1)
            yield
        finally:
            await self.database.close()
            lock.terminate()

    async def version(self) -> str:
        """The server's, for people."""
        async with self.database.connection() as connection:
            return str(await connection.fetchval("SHOW server_version"))

    async def make_tables_of(self, folder: Path) -> None:
        """The example's own tables, marked as ours to drop where they were not there before."""
        async with self.database.connection() as connection, connection.transaction():
            is_new = await connection.fetchval("SELECT to_regnamespace($1) IS NULL", KEYS)
            await connection.execute((folder / "schema.sql").read_text("utf-8"))
            if is_new:
                await _run(connection, "COMMENT ON SCHEMA %I IS %L", KEYS, OWNER)

    async def orphans_gone(self) -> None:
        """Wait for workers whose demo was killed: at this moment they may be making a database. Raises AnotherDemoError."""
        end = time.monotonic() + ORPHANS_MAY_TAKE
        async with JobQueue(settings=self.server.settings) as queue:
            while orphans := await self._living_workers(queue):
                if time.monotonic() > end:
                    raise AnotherDemoError(
                        f"workers of an earlier demo are still at work, as processes {orphans}"
                    )
                await asyncio.sleep(0.1)

    async def sweep(self) -> int:
        """Remove the databases, roles, jobs, keys and files of all demos; of how many projects there were any."""
        async with self.database.connection() as connection:
            found = await connection.fetch(
                "SELECT rolname AS role, substring(tag FROM 'project ([0-9a-f-]{36})')::uuid AS project, "
                "array(SELECT datname FROM pg_database WHERE datdba = pg_roles.oid) AS databases "
                "FROM pg_roles, shobj_description(oid, 'pg_authid') AS tag WHERE starts_with(tag, $1)",
                f"{OWNER}: project ",
            )
            await self._drop([name for row in found for name in row["databases"]])
            for row in found:
                await _run(connection, "DROP ROLE IF EXISTS %I", row["role"])
            await self._forget_keys(connection, [row["project"] for row in found])
            await self._forget_jobs(connection)
        if self.server.state.exists():
            shutil.rmtree(self.server.state)
        return len(found)

    async def _living_workers(self, queue: JobQueue) -> list[int]:
        if not await self._has_tables():
            return []
        return [
            worker.pid
            for worker in await queue.list_workers()
            if worker.silent_for < SILENCE and any(name.startswith(RUN_PREFIX) for name in worker.queues)
        ]

    async def _has_tables(self) -> bool:
        # The last of those that a demo needs: while it is missing, none can have written a job.
        async with self.database.connection() as connection:
            return (
                await connection.fetchval("SELECT to_regclass($1)", f"{self.server.settings.schema}.workers")
                is not None
            )

    async def _drop(self, databases: list[str]) -> None:
        waiting = iter(databases)

        async def drop_some() -> None:
            async with self.database.connection() as connection:
                for name in waiting:
                    await _run(connection, "DROP DATABASE IF EXISTS %I WITH (FORCE)", name)

        await asyncio.gather(*(drop_some() for _ in range(min(DROPPERS, len(databases)))))

    async def _forget_keys(self, connection: Connection, projects: list[UUID]) -> None:
        comment = await connection.fetchval(
            "SELECT obj_description(to_regnamespace($1), 'pg_namespace')", KEYS
        )
        if comment == OWNER:
            await _run(connection, "DROP SCHEMA %I CASCADE", KEYS)
        elif await connection.fetchval("SELECT to_regclass($1)", f"{KEYS}.api_keys") is not None:
            # Someone else's, who uses the example for more than the demo.
            await connection.execute(
                "DELETE FROM control_plane_demo.api_keys WHERE project_id = ANY ($1)", projects
            )

    async def _forget_jobs(self, connection: Connection) -> None:
        schema = self.server.settings.schema
        if await self._has_tables():
            await _run(
                connection, "DELETE FROM %I.jobs WHERE tags OPERATOR(pg_catalog.@>) ARRAY[%L]", schema, TAG
            )
            await _run(
                connection,
                "DELETE FROM %I.workers WHERE EXISTS ("
                "SELECT FROM jsonb_object_keys(queues) AS name WHERE starts_with(name, %L))",
                schema,
                RUN_PREFIX,
            )


async def _run(connection: Connection, template: str, *values: str) -> None:
    """A statement that takes no parameters. PostgreSQL itself quotes: %I an identifier, %L a literal.

    By its own format: one of someone else's in public, for exactly these arguments, would be preferred to it.
    """
    await connection.execute(
        await connection.fetchval("SELECT pg_catalog.format($1, VARIADIC $2::text[])", template, values)
    )
