"""Defaults of a server, a database or a role change nothing of what jobplane promises: every session says what it needs.

Each group of settings is what administrators, or other programs on the same server, have really set.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import pytest

from jobplane import CancelResult, DatabaseSettings, JobQueue, JobStatus, SyncJobQueue, Worker, new_job
from jobplane.settings import WorkerSettings, resolve
from jobplane.store import database, session
from jobplane.store.migrator import Migrator
from tests.conftest import TEST_PROFILE
from tests.support import on_database, until

GROUPS: Final[dict[str, dict[str, str]]] = {
    "isolation": {"default_transaction_isolation": "repeatable read", "default_transaction_deferrable": "on"},
    "serializable": {"default_transaction_isolation": "serializable"},
    "read only, in a hurry": {
        "default_transaction_read_only": "on",
        # Short, but long enough for the SET that lifts it: PostgreSQL counts it from a new session's first word.
        "statement_timeout": "50ms",
        "lock_timeout": "1ms",
        "idle_in_transaction_session_timeout": "1ms",
    },
    "ways to write values": {
        "DateStyle": "German",
        "IntervalStyle": "sql_standard",
        "TimeZone": "Asia/Kathmandu",
        "bytea_output": "escape",
        "extra_float_digits": "-15",
        "quote_all_identifiers": "on",
        "standard_conforming_strings": "off",
        "array_nulls": "off",
        "xmloption": "document",
    },
    "silence and shortcuts": {
        "client_min_messages": "error",
        "synchronous_commit": "off",
        "row_security": "off",
        "session_replication_role": "replica",
        "search_path": "nowhere",
        "default_table_access_method": "heap",
        "check_function_bodies": "off",
    },
    "plans": {
        "enable_indexscan": "off",
        "enable_indexonlyscan": "off",
        "enable_nestloop": "off",
        "enable_hashagg": "off",
        "enable_material": "off",
        "plan_cache_mode": "force_generic_plan",
        "jit": "on",
        "jit_above_cost": "0",
        "work_mem": "64kB",
    },
    "bytes": {},
}
TEXT: Final = "žluťoučký kůň, 漢字, NULL"
MOST: Final = 2
"""Jobs of the limited queue that may run at once."""


@pytest.fixture
async def odd(
    server_url: str, template: str, request: pytest.FixtureRequest
) -> AsyncIterator[DatabaseSettings]:
    """A migrated database whose sessions begin with the settings of a group."""
    group: str = request.param
    name = f"jobplane_odd_{secrets.token_hex(6)}"
    server = await asyncpg.connect(server_url)
    if group == "bytes":
        kind = "TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
    else:
        kind = f'TEMPLATE "{template}"'
    await server.execute(f'CREATE DATABASE "{name}" {kind}')
    settings = resolve(DatabaseSettings, {}, url=on_database(server_url, name)).settings
    for setting, value in GROUPS[group].items():
        await server.execute(f"ALTER DATABASE \"{name}\" SET {setting} = '{value}'")
    if group == "bytes":
        await Migrator(settings).up()
    yield settings
    await server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    await server.close()


each_group = pytest.mark.parametrize("odd", GROUPS, indirect=True)


@each_group
async def test_both_clients_and_workers_keep_their_promises(odd: DatabaseSettings) -> None:
    due = datetime.now(UTC).replace(microsecond=123_457) + timedelta(days=1)
    async with JobQueue(settings=odd) as queue:
        running, most = 0, 0

        @queue.task
        async def echo(text: str) -> str:
            return text

        @queue.task
        async def narrow() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.005)
            running -= 1

        first = await echo.with_options(unique_key="k", tags=["NULL", "ž"]).enqueue(TEXT)
        assert (await echo.with_options(unique_key="k").enqueue(TEXT)).id == first.id
        keyed = await queue.enqueue("later", {"text": TEXT}, idempotency_key=TEXT, delay=60, priority=3)
        assert (await queue.enqueue("later", idempotency_key=TEXT)).existing
        await queue.schedule("later", due)
        await queue.limit_queue("narrow", MOST)
        await queue.enqueue_many(narrow.with_options(queue="narrow").new() for _ in range(30))
        await queue.create_schedule("pulse", "@every 1s", "later", {})
        by_sync = await asyncio.to_thread(_with_the_synchronous_client, odd, due)

        chosen = resolve(
            WorkerSettings, {}, **{**TEST_PROFILE, "queues": "default:5,narrow:5", "grace": 5}
        ).settings
        async with Worker(queue, settings=chosen), Worker(queue, settings=chosen):
            job = await queue.wait(first.id, 20)
            assert (job.result, job.tags) == (TEXT, ("NULL", "ž"))

            async def all_done() -> bool:
                counts = await queue.count_jobs()
                return counts[JobStatus.COMPLETED] >= 31

            await until(all_done)
            await queue.retry(first.id)
            assert (await queue.wait(first.id, 20)).attempts == 2

            async def ticked() -> bool:
                return any(schedule.last_tick is not None for schedule in await queue.list_schedules())

            await until(ticked)
        assert await queue.cancel(keyed.id) is CancelResult.CANCELLED
        found = await queue.get_job(keyed.id)
        page = await queue.list_jobs(type="later", limit=50)

    assert most <= MOST, "I16: more jobs of the queue ran at once than it allows"
    assert found is not None
    assert (found.payload["text"], found.priority) == (TEXT, 3)
    assert due in {job.scheduled_at for job in page.jobs}
    assert by_sync == []


def _with_the_synchronous_client(settings: DatabaseSettings, due: datetime) -> list[str]:
    wrong = []
    with SyncJobQueue(settings=settings) as queue:
        made = queue.enqueue("by_sync", {"text": TEXT}, unique_key="NULL", tags=["NULL", "ž"], delay=60)
        if not queue.enqueue("by_sync", unique_key="NULL").existing:
            wrong.append("the unique key")
        queue.enqueue_many(
            new_job("by_sync", {"text": TEXT}, {"delay": 60, "tags": ["NULL"]}) for _ in range(3)
        )
        later = queue.schedule("by_sync", due)
        found, at = queue.get_job(made.id), queue.get_job(later.id)
        if found is None or (found.payload["text"], found.tags) != (TEXT, ("NULL", "ž")):
            wrong.append(f"the job read {found}")
        if at is None or at.scheduled_at != due:
            wrong.append(f"the due time {at}")
        if queue.cancel(made.id) is not CancelResult.CANCELLED:
            wrong.append("the cancellation")
        queue.retry(made.id)
        if len(queue.list_jobs(type="by_sync").jobs) != 5:
            wrong.append("the list")
        if queue.count_jobs()[JobStatus.PENDING] < 5:
            wrong.append("the counts")
    return wrong


@pytest.mark.parametrize("odd", ["read only, in a hurry"], indirect=True)
async def test_how_long_something_may_take_is_for_our_own_settings(odd: DatabaseSettings) -> None:
    shown = database.Database(odd)
    async with shown.connection() as connection:
        await connection.execute("SELECT pg_catalog.pg_sleep(0.2)")
    await shown.close()


@pytest.mark.parametrize("odd", ["isolation"], indirect=True)
async def test_without_a_word_of_ours_the_database_decides_the_isolation_level(odd: DatabaseSettings) -> None:
    """That the group above can fail: under a higher level a queue's limit counts from an old snapshot."""

    async def level(made: session.Session) -> str:
        shown = database.Database(odd, setup=made)
        async with shown.connection() as connection:
            found: str = await connection.fetchval("SHOW transaction_isolation")
        await shown.close()
        return found

    spoken = session.WORKER_SESSION
    silent = spoken.without("default_transaction_isolation")

    assert (await level(spoken), await level(silent)) == ("read committed", "repeatable read")
