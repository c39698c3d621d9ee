"""URLs that mean what they say, however unusual: both clients take them, and reach the same database as the same role."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote, urlsplit

import pytest

from jobplane import ConfigurationError, DatabaseSettings, JobQueue, SyncJobQueue
from jobplane.ids import new_job_id
from jobplane.store.connecting import connect
from tests.factories import SQL
from tests.support import SLACK

PASSWORD = "p@ss:w/o#r?d%40 &=+'x"
NAMES = ("app@tenant", "app tenant", "app:role", "50%/app", "äpp")
FORMS = (
    "postgresql://{user}:{password}@{host}:{port}/{db}",
    "postgres://{user}:{password}@{host}:{port}/{db}?",
    "postgresql://{host}:{port}/{db}?user={user}&password={password}",
    "postgresql:///{db}?host={host}&port={port}&user={user}&password={password}",
    "postgresql://{user}:{password}@{host}:1,{host}:{port}/{db}",
    "postgresql://{user}:{password}@{host}:{port}/{db}?application_name=mine&target_session_attrs=read-write",
)


WORDS = (
    "channel_binding=prefer",
    "connect_timeout=10",
    "connect_timeout=0",
    "keepalives=1&keepalives_idle=30&keepalives_interval=10&keepalives_count=5",
    "keepalives=0",
    "tcp_user_timeout=20000",
    "gssencmode=disable&krbsrvname=postgres",
    "fallback_application_name=web",
    "application_name=web&options=-c%20work_mem%3D8MB",
    "client_encoding=utf8",
    "load_balance_hosts=random",
    "sslnegotiation=postgres&sslsni=1&sslcompression=0&sslcertmode=allow",
    "ssl_min_protocol_version=TLSv1.2",
    "target_session_attrs=any",
    "ssl=prefer",
    "ssl=false",
)
"""Such as hosting services put into the URLs that they hand out, and other libraries into theirs."""
SCHEMES = (
    "postgresql+asyncpg",
    "postgresql+psycopg",
    "postgresql+psycopg2",
    "postgres+psycopg_async",
    "postgresql",
)


@pytest.fixture
async def role(sql: SQL, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A superuser with an unusual name, who owns a database with the same name."""
    name = f"{request.param} {secrets.token_hex(4)}"
    quoted, word = name.replace('"', '""'), PASSWORD.replace("'", "''")
    await sql.execute(f"CREATE ROLE \"{quoted}\" SUPERUSER LOGIN PASSWORD '{word}'")
    yield name
    await sql.execute(f'DROP ROLE "{quoted}"')


@pytest.mark.parametrize("role", NAMES, indirect=True)
@pytest.mark.parametrize("form", FORMS)
async def test_both_clients_take_it(role: str, form: str, database_url: str) -> None:
    parts = urlsplit(database_url)
    url = form.format(
        user=quote(role, safe=""),
        password=quote(PASSWORD, safe=""),
        host=parts.hostname,
        port=parts.port,
        db=parts.path.lstrip("/"),
    )

    assert await _reached_by_both(url)


async def _reached_by_both(url: str) -> bool:
    async with JobQueue(url) as queue:
        made = await queue.enqueue("work")

    def read() -> bool:
        with SyncJobQueue(url) as synchronous:
            return synchronous.get_job(made.id) is not None

    return await asyncio.to_thread(read)


@pytest.mark.parametrize("words", WORDS)
async def test_words_of_libpq_are_taken_by_both_clients(words: str, database_url: str) -> None:
    assert await _reached_by_both(f"{database_url}?{words}")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("around", ["", " ", "\n"])
async def test_names_of_drivers_and_white_space_around_are_no_part_of_a_url(
    scheme: str, around: str, database_url: str
) -> None:
    url = database_url.replace("postgresql", scheme, 1)

    assert await _reached_by_both(f"{around}{url}{around}")


async def test_the_asynchronous_client_says_that_it_binds_no_channel(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Hosting services hand it out; without TLS libpq itself refuses."""
    async with JobQueue(f"{database_url}?sslmode=prefer&channel_binding=require") as queue:
        assert (await queue.enqueue("work")).id is not None

    assert "verify-full" in caplog.text


async def test_an_address_stands_for_the_name_that_it_is_given_with(database_url: str) -> None:
    nowhere = database_url.replace("127.0.0.1", "db.invalid", 1)

    assert await _reached_by_both(f"{nowhere}?hostaddr=127.0.0.1")


@pytest.mark.parametrize(
    "words",
    [
        "require_auth=scram-sha-256",
        "gssencmode=require",
        "sslcertmode=require",
        "requirepeer=postgres",
        "sslcrldir=/etc/crl",
        "hostaddr=127.0.0.1&sslmode=verify-full",
    ],
)
async def test_a_demand_that_the_driver_cannot_see_to_is_refused_by_name(
    words: str, database_url: str
) -> None:
    async with JobQueue(f"{database_url}?{words}") as queue:
        with pytest.raises(ConfigurationError, match=words.partition("=")[0]):
            await queue.enqueue("work")


@pytest.mark.parametrize("words", ["connect_timeout=soon", "keepalives_idle=1.5", "tcp_user_timeout=x"])
async def test_a_number_that_is_none_is_refused_by_name(words: str, database_url: str) -> None:
    async with JobQueue(f"{database_url}?{words}") as queue:
        with pytest.raises(ConfigurationError, match=words.partition("=")[0]):
            await queue.enqueue("work")


async def test_what_a_url_says_of_keepalives_wins(settings: DatabaseSettings) -> None:
    words = "keepalives_idle=31&keepalives_count=7&tcp_user_timeout=21000"
    connection = await connect(replace(settings, url=f"{settings.url}?{words}"))
    found = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]

    told = [
        found.getsockopt(socket.IPPROTO_TCP, option)
        for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    ]
    await connection.close()

    assert told == [31, 7, 21_000]


async def test_connect_timeout_is_how_long_one_connection_may_take(settings: DatabaseSettings) -> None:
    """A server that accepts and says nothing."""
    writers: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    patient = replace(
        settings,
        url=f"postgresql://a:b@127.0.0.1:{port}/c?connect_timeout=1",
        connect_timeout=timedelta(seconds=300),
    )
    began = time.monotonic()

    with pytest.raises(TimeoutError):
        await connect(patient)
    silent.close()
    for writer in writers:
        writer.close()
        await writer.wait_closed()

    assert time.monotonic() - began < 1 * SLACK


async def test_commands_take_the_words_of_hosting_services(database_url: str) -> None:
    url = database_url.replace("postgresql", "postgresql+asyncpg", 1)
    environment = {
        **os.environ,
        "DATABASE_URL": f"{url}?sslmode=prefer&channel_binding=prefer&connect_timeout=10",
    }

    for command in (["jobs", "list"], ["doctor"], ["migrate", "status"], ["queues", "list"]):
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "jobplane", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)


async def test_a_databases_name_may_hold_what_is_percent_encoded(sql: SQL, database_url: str) -> None:
    """The connection is made: what is missing there is the table."""
    name = f"shop@eu {secrets.token_hex(4)}"
    await sql.execute(f'CREATE DATABASE "{name}"')
    url = urlsplit(database_url)._replace(path=f"/{quote(name, safe='')}").geturl()

    def found() -> str:
        with SyncJobQueue(url) as queue:
            try:
                queue.get_job(new_job_id())
            except Exception as error:  # noqa: BLE001 - which it is, is the answer
                return str(error)
        return ""

    try:
        assert "migrate" in await asyncio.to_thread(found)
        async with JobQueue(url) as queue:
            with pytest.raises(Exception, match="migrate"):
                await queue.get_job(new_job_id())
    finally:
        await sql.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
