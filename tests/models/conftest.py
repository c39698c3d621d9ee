"""One database and one event loop for a whole module of models: thousands of small histories run on them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import asyncpg
import pytest

from tests.models.ground import CREATE_CLOCK, Loop
from tests.support import on_database


@pytest.fixture(scope="module")
def loop() -> Iterator[Loop]:
    """Runs coroutines for synchronous tests."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def ground_url(server_url: str, template: str, loop: Loop) -> Iterator[str]:
    """The URL of a migrated database with a clock to set."""
    name = f"jobplane_models_{uuid.uuid4().hex[:12]}"

    async def administer(url: str, statement: str) -> None:
        connection = await asyncpg.connect(url)
        await connection.execute(statement)
        await connection.close()

    loop(administer(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"'))
    url = on_database(server_url, name)
    loop(administer(url, CREATE_CLOCK))
    yield url
    loop(administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))
