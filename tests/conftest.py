"""A real PostgreSQL for every test: one server for the session, a database cloned from a template for each test.

The server is the embedded one, unless DATABASE_URL names another, or JOBPLANE_TEST_BIN_DIR names the programs
of another version (`make test-system` runs the suite on the system's own).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from jobplane import DatabaseSettings, JobQueue, Registry, Worker
from jobplane.embedded import EmbeddedServer
from jobplane.settings import WorkerSettings, resolve
from jobplane.store.migrator import Migrator
from tests.support import SLACK, Journal, WorkerProcess, on_database, scratch_base

# By default each example has 200 ms, and so has the making of inputs: on a busy machine those are figures of the machine.
hypothesis_settings.register_profile(
    "jobplane", deadline=timedelta(seconds=1) * SLACK, suppress_health_check=[HealthCheck.too_slow]
)
if (
    hypothesis_settings.get_current_profile_name() == "default"
):  # and not another, by --hypothesis-profile or a plugin
    hypothesis_settings.load_profile("jobplane")

TEST_PROFILE: dict[str, object] = {
    "heartbeat_interval": 0.4,
    "lease": 2,
    "sweep_interval": 0.5,
    "poll_interval": 0.2,
}
"""guarantees' test profile: short leases, so that recovery can be watched. Times in seconds."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave out what needs a developer's tool that is not installed: `make test` does not install them."""
    for marker in item.iter_markers("developer"):
        if find_spec(marker.args[0]) is None:
            pytest.skip(f"{marker.args[0]} is not installed here: `make check` runs this")


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """The URL of a server where the tests may create databases."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    bin_dir = os.environ.get("JOBPLANE_TEST_BIN_DIR")
    # Workers of pytest-xdist share one server: the folder is named after the run.
    folder = (
        Path(scratch_base()) / f"jobplane-tests-{os.environ.get('PYTEST_XDIST_TESTRUNUID', uuid.uuid4().hex)}"
    )
    folder.mkdir(exist_ok=True)
    # The account that runs the server must be able to enter, and pytest's own folders are private.
    folder.chmod(0o755)
    server = EmbeddedServer(
        folder / "data",
        bin_dir=Path(bin_dir) if bin_dir else None,
        fsync=False,
        settings={"max_connections": "300"},
    )
    with server:
        yield server.url()
    if not (folder / "data" / "postmaster.pid").exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server_url: str) -> Iterator[str]:
    """The name of a migrated database to clone."""
    yield from make_template(server_url)


def make_template(server_url: str) -> Iterator[str]:
    """A migrated database to clone, on any server, for as long as the fixture lives."""
    name = f"jobplane_template_{uuid.uuid4().hex[:12]}"

    async def make() -> None:
        await _administer(server_url, f'CREATE DATABASE "{name}"')
        await Migrator(DatabaseSettings(url=on_database(server_url, name))).up()

    asyncio.run(make())
    yield name
    asyncio.run(_administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def database_url(server_url: str, template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated, empty database."""
    async for url in _database(server_url, template):
        yield url


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    """The URL of a fresh database in which nothing was migrated."""
    async for url in _database(server_url, "template0"):
        yield url


@pytest.fixture
def settings(database_url: str) -> DatabaseSettings:
    """The test's database as settings."""
    return resolve(DatabaseSettings, {}, url=database_url).settings


@pytest.fixture
async def queue(settings: DatabaseSettings) -> AsyncIterator[JobQueue]:
    """A client of the test's database."""
    async with JobQueue(settings=settings) as queue:
        yield queue


@pytest.fixture
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A bare connection to the test's database: what any SQL client sees."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def make_worker(settings: DatabaseSettings) -> AsyncIterator[Callable[..., Worker]]:
    """Makes workers in the test profile, inside the test's process; those still running are stopped at the end.

    `make_worker(source, **settings)`; with `url=` the worker reaches its database another way.
    """
    made: list[Worker] = []

    def make(source: JobQueue | Registry, *, url: str | None = None, **explicit: object) -> Worker:
        chosen = resolve(WorkerSettings, {}, **{**TEST_PROFILE, "grace": 5, **explicit}).settings
        worker = Worker(source, database=replace(settings, url=url or settings.url), settings=chosen)
        made.append(worker)
        return worker

    yield make
    for worker in made:
        await worker.stop(grace=0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Where handlers of worker processes write what they did, outside of the database."""
    return Journal(tmp_path / "journal.jsonl")


@pytest.fixture
def spawn_worker(database_url: str, journal: Journal) -> Iterator[Callable[..., WorkerProcess]]:
    """Starts real worker processes (`jobplane worker tests.handlers`); those still alive are killed at the end.

    `spawn_worker(**environment)`; with `targets=` it runs other tasks than those of tests.handlers.
    """
    spawned: list[WorkerProcess] = []

    def spawn(targets: str = "tests.handlers", **environment: str) -> WorkerProcess:
        process = WorkerProcess(database_url, journal, environment, targets)
        spawned.append(process)
        return process

    yield spawn
    for process in spawned:
        process.end()


async def _database(server_url: str, template: str) -> AsyncIterator[str]:
    name = f"jobplane_test_{uuid.uuid4().hex[:12]}"
    await _administer(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield on_database(server_url, name)
    await _administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _administer(server_url: str, statement: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
