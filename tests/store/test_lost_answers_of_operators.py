"""Operators' commands: an answer that was lost is called that, and the same once more does what is missing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from jobplane import DatabaseSettings, MigrationError, OutcomeUnknownError
from jobplane.store import roles, tenants
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore
from jobplane.store.migrator import Migrator, migrations
from tests.factories import SQL
from tests.faults.proxy import FaultProxy
from tests.security.logins import Guarded, guarded_database

NEWEST = migrations()[-1].version


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[FaultProxy]:
    """The operator's way to the server."""
    async with FaultProxy(database_url) as proxy:
        yield proxy


@pytest.fixture
def far(proxy: FaultProxy, settings: DatabaseSettings) -> DatabaseSettings:
    """The test's database, on the other side of it."""
    return replace(settings, url=proxy.url)


@pytest.fixture
def guarded(server_url: str, template: str) -> Iterator[Guarded]:
    """A database with roles of its own."""
    with guarded_database(server_url, template) as made:
        yield made


async def test_a_migration_whose_answer_was_lost_is_not_called_rolled_back(
    far: DatabaseSettings, proxy: FaultProxy, settings: DatabaseSettings
) -> None:
    await Migrator(settings).down(NEWEST - 1)
    proxy.lose_answers("COMMIT")

    with pytest.raises(MigrationError, match=r"not known whether that was applied: run the same again"):
        await Migrator(far).up()
    again = await Migrator(far).up()

    assert proxy.swallowed == 1
    assert again == [], "it was applied"
    proxy.lose_answers("COMMIT")
    with pytest.raises(MigrationError, match=r"not known whether that was applied"):
        await Migrator(far).down(NEWEST - 1)
    assert [migration.version for migration in await Migrator(far).up()] == [NEWEST]


async def test_switching_the_history_says_so_and_may_be_repeated(
    far: DatabaseSettings, proxy: FaultProxy, sql: SQL
) -> None:
    store = HistoryStore(Database(far))
    for switch, expected in ((store.on, True), (store.off, False)):
        proxy.lose_answers("jobplane: history/")
        with pytest.raises(OutcomeUnknownError, match="history/o"):
            await switch()
        assert await store.is_on() is expected
        await switch()
        assert await store.is_on() is expected
    assert proxy.swallowed == 2


async def test_roles_and_tenants_say_so_and_may_be_repeated(guarded: Guarded) -> None:
    settings = DatabaseSettings(url=guarded.url)
    async with FaultProxy(guarded.url) as proxy:
        far = replace(settings, url=proxy.url)
        proxy.lose_answers("COMMIT")
        with pytest.raises(OutcomeUnknownError, match="roles"):
            await roles.apply(far, guarded.prefix)
        await roles.apply(far, guarded.prefix)
        proxy.lose_answers("COMMIT")
        with pytest.raises(OutcomeUnknownError, match="tenants"):
            await tenants.enable(far, guarded.prefix)
        await tenants.enable(far, guarded.prefix)

    assert proxy.swallowed == 2
    assert (await tenants.status(settings)).enabled
