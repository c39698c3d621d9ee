"""A commit whose wait for the synchronous standby was cut short is not acknowledged (I1, F16c)."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from jobplane import DatabaseSettings, JobQueue, NotReplicatedError, new_job
from jobplane.embedded import EmbeddedServer
from jobplane.store.migrator import Migrator
from tests.factories import SQL
from tests.support import until

Call = Callable[[JobQueue], Awaitable[object]]


@pytest.fixture(scope="module")
def own_server() -> Iterator[EmbeddedServer]:
    """A server whose standby is away, once it is told that it has one."""
    with tempfile.TemporaryDirectory(prefix="jobplane-sync-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data") as server:
            asyncio.run(Migrator(DatabaseSettings(url=server.url())).up())
            yield server


@pytest.fixture
async def admin(own_server: EmbeddedServer) -> AsyncIterator[SQL]:
    """A connection that waits for no standby; the server waits for one that is away."""
    connection = await asyncpg.connect(own_server.url())
    await connection.execute("SET synchronous_commit = local")
    await _wait_for_standby(connection, "nobody")
    yield connection
    await _wait_for_standby(connection, "")
    await connection.close()


@pytest.fixture
async def primary(own_server: EmbeddedServer) -> AsyncIterator[JobQueue]:
    """A client of that server."""
    async with JobQueue(settings=DatabaseSettings(url=own_server.url())) as queue:
        yield queue


async def _wait_for_standby(connection: SQL, name: str) -> None:
    await connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'")
    await connection.execute("SELECT pg_reload_conf()")

    async def known() -> bool:
        return bool(
            await connection.fetchval("SELECT current_setting('synchronous_standby_names') = $1", name)
        )

    await until(known)


async def _waiting(admin: SQL) -> list[int]:
    found = await admin.fetch("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return [row["pid"] for row in found]


async def _cancel_waiting(admin: SQL) -> None:
    for pid in await until(lambda: _waiting(admin)):
        await admin.execute("SELECT pg_cancel_backend($1)", pid)


async def _one(queue: JobQueue) -> object:
    return await queue.enqueue("work", {}, idempotency_key="one")


async def _by_copy(queue: JobQueue) -> object:
    return await queue.enqueue_many([new_job("work", {})])


async def _synchronously(queue: JobQueue) -> object:
    return await asyncio.to_thread(queue.sync.enqueue, "work", {}, idempotency_key="sync")


async def _synchronously_by_copy(queue: JobQueue) -> object:
    return await asyncio.to_thread(queue.sync.enqueue_many, [new_job("work", {})])


@pytest.mark.parametrize("call", [_one, _by_copy, _synchronously, _synchronously_by_copy])
async def test_an_enqueue_whose_wait_was_cancelled_says_that_its_outcome_is_not_known(
    primary: JobQueue, admin: SQL, call: Call
) -> None:
    before = await admin.fetchval("SELECT count(*) FROM control_plane.jobs")
    calling = asyncio.ensure_future(call(primary))

    await _cancel_waiting(admin)

    with pytest.raises(
        NotReplicatedError, match=r"whether a standby has it is not known.*same\s+idempotency key"
    ):
        await calling
    # The server told it nothing but success: the row is there, on this one machine.
    assert await admin.fetchval("SELECT count(*) FROM control_plane.jobs") == before + 1


async def test_a_repeated_enqueue_waits_for_the_standby_though_the_job_is_there_already(
    primary: JobQueue, admin: SQL
) -> None:
    first = asyncio.ensure_future(primary.enqueue("work", {}, idempotency_key="repeated"))
    await _cancel_waiting(admin)
    with pytest.raises(NotReplicatedError):
        await first

    again = asyncio.ensure_future(primary.enqueue("work", {}, idempotency_key="repeated"))
    await until(lambda: _waiting(admin))
    assert not again.done()
    await _wait_for_standby(admin, "")

    assert (await again).existing


async def test_any_other_warning_is_none_of_our_business(primary: JobQueue, admin: SQL) -> None:
    await _wait_for_standby(admin, "")
    await admin.execute(
        """
        CREATE FUNCTION warn() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE WARNING 'not replicated'; RETURN NULL; END $$;
        CREATE TRIGGER warn AFTER INSERT ON control_plane.jobs EXECUTE FUNCTION warn()
        """
    )

    made = await primary.enqueue("work", {})
    also = await asyncio.to_thread(primary.sync.enqueue, "work", {})
    await admin.execute("DROP FUNCTION warn() CASCADE")

    assert not made.existing
    assert not also.existing
