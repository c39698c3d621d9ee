"""A network that passes nothing and ends nothing is noticed in time, and all that waited for it tries again (F8b)."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from jobplane import DatabaseSettings, JobQueue, JobStatus, Worker
from jobplane.events import JobStarted, ServiceFailed
from jobplane.settings import WorkerSettings, resolve
from jobplane.sql import parse
from jobplane.store.connecting import connect
from jobplane.store.database import Database
from jobplane.store.listener import Listener
from jobplane.store.sync import SyncDatabase
from tests.conftest import TEST_PROFILE
from tests.factories import SQL
from tests.proxy import Proxy
from tests.support import SLACK, Recorder, until


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be stopped up."""
    async with Proxy(database_url) as proxy:
        yield proxy


async def test_a_worker_gives_up_statements_that_a_dead_network_will_never_answer(
    queue: JobQueue, settings: DatabaseSettings, proxy: Proxy, sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    async def listens() -> bool:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
        return bool(await sql.fetchval(query))

    short = replace(settings, url=proxy.url, network_timeout=timedelta(seconds=1))
    worker = Worker(
        queue.registry, database=short, settings=resolve(WorkerSettings, {}, **TEST_PROFILE).settings
    )
    recorder = Recorder(worker.events, ServiceFailed, JobStarted)
    async with worker:
        await work.enqueue()
        await recorder.wait_for(JobStarted)
        await until(listens)  # it is over that connection that a worker asks whether the network lives

        proxy.stop_up()
        stopped = time.monotonic()
        await until(lambda: _failed(recorder, "claimer default"), timeout=20)
        noticed = time.monotonic() - stopped
        proxy.heal()
        made = await work.enqueue()
        job = await queue.wait(made.id, 10)

    assert noticed < short.network_timeout.total_seconds() * SLACK, (
        "not only after the statement timeout of 30 s"
    )
    assert job.status is JobStatus.COMPLETED


async def test_statements_that_are_slow_are_not_taken_for_a_dead_network(settings: DatabaseSettings) -> None:
    database = Database(replace(settings, network_timeout=timedelta(seconds=0.5)))
    listening = asyncio.create_task(Listener(database, lambda _word: None).listen())
    slow = parse("test/slow", "SELECT pg_sleep(:seconds)", "control_plane")

    answer = await database.fetch_once(slow, slow.positions({"seconds": 1.5}))

    assert len(answer) == 1
    assert not listening.done()
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    await database.close()


async def test_the_system_is_told_to_watch_over_connections(settings: DatabaseSettings) -> None:
    connection = await connect(replace(settings, network_timeout=timedelta(seconds=12)))
    found = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]

    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 12_000
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 6
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 2
        assert found.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
    await connection.close()


async def test_synchronous_connections_are_watched_over_unless_the_url_says_how(
    settings: DatabaseSettings,
) -> None:
    pytest.importorskip("psycopg")
    database = SyncDatabase(replace(settings, url=f"{settings.url}?tcp_user_timeout=5000"))
    kept = database._keepalives()
    await asyncio.to_thread(database.close)

    assert kept == {"keepalives_idle": 5, "keepalives_interval": 1, "keepalives_count": 3}


async def _failed(recorder: Recorder, service: str) -> bool:
    return any(event.service == service for event in recorder.of(ServiceFailed))
