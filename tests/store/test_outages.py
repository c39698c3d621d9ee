"""What a database that is away, full, wrong or read-only becomes: one of our errors, in time, with advice."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest

from jobplane import (
    ConfigurationError,
    DatabaseSettings,
    DatabaseUnavailableError,
    JobplaneError,
    ReadOnlyDatabaseError,
    SchemaError,
    SyncJobQueue,
)
from jobplane.ids import new_job_id
from jobplane.sql import parse
from jobplane.store.database import Database
from jobplane.store.session import CLIENT_SESSION
from tests.factories import SQL, make_job
from tests.store.test_database import ONE, Counting
from tests.support import SLACK, until

BACKENDS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobplane'"
QUICK = timedelta(seconds=0.5)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        yield probe.getsockname()[1]


@pytest.fixture
async def limited(server_url: str, database_url: str, sql: SQL) -> AsyncIterator[str]:
    """The URL of a role that may have one connection."""
    role = f"limited_{new_job_id().hex}"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p' CONNECTION LIMIT 1")
    parts = urlsplit(database_url)
    yield urlunsplit(parts._replace(netloc=f"{role}:p@{parts.hostname}:{parts.port}"))
    await sql.execute(f"DROP ROLE {role}")


async def test_too_many_connections_are_waited_out(limited: str) -> None:
    holder = await asyncpg.connect(limited)
    database = Counting(DatabaseSettings(url=limited))

    fetching = asyncio.create_task(database.fetch(ONE, {}))

    async def has_tried_again() -> bool:
        return database.tries >= 2

    await until(has_tried_again)
    await holder.close()
    assert [row["one"] for row in await fetching] == [1]
    await database.close()


async def test_too_many_connections_for_longer_than_patience_is_an_error(limited: str) -> None:
    holder = await asyncpg.connect(limited)
    database = Database(DatabaseSettings(url=limited, patience=QUICK))

    with pytest.raises(DatabaseUnavailableError, match="SQLSTATE 53300") as caught:
        await database.fetch(ONE, {})

    assert isinstance(caught.value.__cause__, asyncpg.TooManyConnectionsError)
    await holder.close()
    await database.close()


async def test_a_refused_connection_is_an_error_within_patience(closed_port: int) -> None:
    database = Database(
        DatabaseSettings(url=f"postgresql://me:canary@127.0.0.1:{closed_port}/db", patience=QUICK)
    )
    begun = time.monotonic()

    with pytest.raises(DatabaseUnavailableError, match="Is PostgreSQL running there") as caught:
        await database.fetch(ONE, {})

    assert time.monotonic() - begun < 1 * SLACK
    assert isinstance(caught.value.__cause__, OSError)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "kind", "says"),
    [
        (
            {"path": "/no_such_database"},
            DatabaseUnavailableError,
            r"no_such_database.*3D000.*jobplane doctor",
        ),
        ({"user": "nobody:wrong"}, DatabaseUnavailableError, r"28P01.*Check user, password"),
        ({"host": "no-such-host.invalid"}, DatabaseUnavailableError, r"test/one: .*jobplane doctor"),
        ({"scheme": "mysql"}, ConfigurationError, "database URL .* cannot be read"),
        ({"query": "sslmode=perhaps"}, ConfigurationError, "database URL .* cannot be read"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
async def test_a_wrong_url_is_a_clear_error_without_the_password(
    database_url: str, change: dict[str, str], kind: type[JobplaneError], says: str
) -> None:
    parts = urlsplit(database_url)
    user, host = change.get("user", parts.netloc.split("@")[0]), change.get("host", parts.hostname)
    url = urlunsplit(
        (
            change.get("scheme", "postgresql"),
            f"{user}@{host}:{parts.port}",
            change.get("path", parts.path),
            change.get("query", ""),
            "",
        )
    )
    database = Database(DatabaseSettings(url=url, patience=QUICK))
    begun = time.monotonic()

    with pytest.raises(kind, match=says) as caught:
        await database.fetch(ONE, {})

    assert time.monotonic() - begun < 2 * SLACK
    assert user.split(":")[1] not in str(caught.value)
    await database.close()


async def test_a_missing_schema_is_an_error_at_once_that_says_what_to_do(empty_database_url: str) -> None:
    database = Database(DatabaseSettings(url=empty_database_url))
    begun = time.monotonic()

    with pytest.raises(SchemaError, match=r"job/get: .*control_plane.* run jobplane migrate up"):
        await database.fetch(database.statement("job/get"), {"id": str(new_job_id())})

    assert time.monotonic() - begun < 1 * SLACK, "waiting would not mend it"
    await database.close()


async def test_a_read_only_server_is_waited_out(settings: DatabaseSettings, sql: SQL) -> None:
    """As after a failover: the old primary has become a standby. (Our sessions turn the default off, so not this one's.)"""
    name = urlsplit(settings.url or "").path.removeprefix("/")
    await sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    database = Counting(
        replace(settings, patience=QUICK), setup=CLIENT_SESSION.without("default_transaction_read_only")
    )
    pause = database.statement("queue/pause")

    with pytest.raises(ReadOnlyDatabaseError, match="point DATABASE_URL at the primary"):
        await database.fetch(pause, {"name": "q"})
    assert database.tries > 1, "a read-only connection is not kept"
    await sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = off')
    assert len(await database.fetch(pause, {"name": "q"})) == 1
    await database.close()


async def test_an_answer_that_takes_too_long_is_given_up(settings: DatabaseSettings) -> None:
    database = Database(replace(settings, statement_timeout=timedelta(seconds=0.2), patience=QUICK))
    sleep = parse("test/sleep", "SELECT pg_sleep(60)", "s")
    begun = time.monotonic()

    with pytest.raises(DatabaseUnavailableError, match="test/sleep: TimeoutError"):
        await database.fetch(sleep, {})

    assert time.monotonic() - begun < 2 * SLACK
    await database.close()


# -- the synchronous client ---------------------------------------------------------------------------


async def test_the_synchronous_client_gives_up_within_patience_too(closed_port: int) -> None:
    url = f"postgresql://me:canary@127.0.0.1:{closed_port}/db"
    settings = DatabaseSettings(url=url, patience=QUICK, connect_timeout=QUICK)

    def use() -> None:
        with SyncJobQueue(settings=settings) as queue:
            queue.get_job(new_job_id())

    with pytest.raises(DatabaseUnavailableError, match=r"(?s)refused.*Is PostgreSQL running there") as caught:
        await asyncio.wait_for(asyncio.to_thread(use), 10)
    assert "canary" not in str(caught.value)


async def test_the_synchronous_client_says_that_a_schema_is_missing(empty_database_url: str) -> None:
    def use() -> None:
        with SyncJobQueue(empty_database_url) as queue:
            queue.get_job(new_job_id())

    with pytest.raises(SchemaError, match="run jobplane migrate up"):
        await asyncio.to_thread(use)


async def test_the_synchronous_client_does_not_wait_for_an_answer_for_ever(
    settings: DatabaseSettings, sql: SQL
) -> None:
    short = replace(settings, statement_timeout=timedelta(seconds=0.3), patience=QUICK)
    job_id = await make_job(sql)

    def use() -> None:
        with SyncJobQueue(settings=short) as queue:
            queue.cancel(job_id)

    async with sql.transaction():
        await sql.execute("SELECT FROM control_plane.jobs FOR UPDATE")
        with pytest.raises(DatabaseUnavailableError, match="job/cancel"):
            await asyncio.wait_for(asyncio.to_thread(use), 10)


async def test_the_synchronous_client_names_a_url_that_cannot_be_read_without_its_password() -> None:
    def use() -> None:
        with SyncJobQueue("mysql://me:canary@h/db") as queue:
            queue.get_job(new_job_id())

    with pytest.raises(ConfigurationError, match=r"database URL \(not shown: .*\) cannot be read") as caught:
        await asyncio.wait_for(asyncio.to_thread(use), 10)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("/no_such_database", "no_such_database"),
        ("/postgres?sslmode=perhaps", "perhaps"),
        ("/postgres?user=x&password=y", "x"),
    ],
)
async def test_the_synchronous_client_says_why_it_could_not_connect(
    server_url: str, change: str, says: str
) -> None:
    """Its pool connects in the background and would only say that it took too long."""
    parts = urlsplit(server_url)
    url = urlunsplit(parts._replace(path="", query="")) + change

    def use() -> None:
        with SyncJobQueue(settings=DatabaseSettings(url=url, patience=QUICK, connect_timeout=QUICK)) as queue:
            queue.get_job(new_job_id())

    with pytest.raises(DatabaseUnavailableError, match=says) as caught:
        await asyncio.wait_for(asyncio.to_thread(use), 10)
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
