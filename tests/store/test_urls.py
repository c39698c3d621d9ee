"""URLs that mean what they say, however unusual: both clients take them, and reach the same database as the same role."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import quote, urlsplit

import pytest

from jobplane import JobQueue, SyncJobQueue
from jobplane.ids import new_job_id
from tests.factories import SQL

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

    async with JobQueue(url) as queue:
        made = await queue.enqueue("work")

    def read() -> bool:
        with SyncJobQueue(url) as synchronous:
            return synchronous.get_job(made.id) is not None and synchronous.get_job(new_job_id()) is None

    assert await asyncio.to_thread(read)


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
