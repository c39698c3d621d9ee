"""A worker's view of the test's database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from jobplane import DatabaseSettings
from jobplane.store.database import Database
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store


@pytest.fixture
async def database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """Connections as workers hold them."""
    database = Database(settings, setup=WORKER_SESSION)
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> Store:
    """What a worker asks of the database."""
    return Store(database)
