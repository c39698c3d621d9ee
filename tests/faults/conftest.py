"""What the fault suite stands on: a server that loses nothing (fsync on), runs with a seed, and their table of figures."""

from __future__ import annotations

import os
import random
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from jobplane.embedded import EmbeddedServer
from tests.conftest import _administer, make_template
from tests.faults import bugs
from tests.faults.report import Report, line, markdown
from tests.faults.run import FaultRun
from tests.support import on_database

_reports = pytest.StashKey[list[Report]]()
StartRun = Callable[..., AbstractAsyncContextManager[FaultRun]]


def seed_of_this_run() -> int:
    """JOBPLANE_FAULTS_SEED, or one made up for the day."""
    return int(os.environ.setdefault("JOBPLANE_FAULTS_SEED", str(random.randrange(1_000_000))))


def is_long() -> bool:
    """Whether the long profile was asked for (JOBPLANE_FAULTS_PROFILE=long)."""
    return os.environ.get("JOBPLANE_FAULTS_PROFILE", "short") == "long"


@pytest.fixture(scope="session")
def durable_url() -> Iterator[str]:
    """The URL of a server with fsync on, that no test may restart."""
    given = os.environ.get("DATABASE_URL")
    if given:
        yield given
        return
    bin_dir = os.environ.get("JOBPLANE_TEST_BIN_DIR")
    with tempfile.TemporaryDirectory(prefix="jobplane-faults-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        settings = {
            "max_connections": "200",
            "log_lock_waits": "on",
            "deadlock_timeout": "200ms",
            # As often, against the length of a run, as every minute is against hours.
            "autovacuum_naptime": "5s",
        }
        server = EmbeddedServer(
            Path(folder) / "data", bin_dir=Path(bin_dir) if bin_dir else None, settings=settings
        )
        with server:
            yield server.url()


@pytest.fixture(scope="session")
def server_url(durable_url: str) -> str:
    """The fault suite's tests use the durable server throughout."""
    return durable_url


@pytest.fixture(scope="session")
def template(durable_url: str) -> Iterator[str]:
    """As for other tests, on the durable server: fixtures of a session are kept apart by where they are defined."""
    yield from make_template(durable_url)


@pytest.fixture
async def fault_database(durable_url: str, template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database on the durable server."""
    name = f"jobplane_faults_{uuid.uuid4().hex[:12]}"
    await _administer(durable_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    yield on_database(durable_url, name)
    await _administer(durable_url, f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def start_run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str, str], FaultRun]:
    """`start_run("F1 kill -9", url)`: a run on any migrated database, for scenarios with a server of their own."""

    def start(name: str, url: str) -> FaultRun:
        reports = request.config.stash.setdefault(_reports, [])
        return FaultRun(name, url, tmp_path, seed_of_this_run(), long=is_long(), report=reports.append)

    return start


@pytest.fixture
async def fault_run(
    request: pytest.FixtureRequest, start_run: Callable[[str, str], FaultRun], fault_database: str
) -> AsyncIterator[FaultRun]:
    """A run on a fresh database of the durable server, named after its test."""
    async with start_run(request.node.name.removeprefix("test_"), fault_database) as run:
        yield run


def pytest_configure() -> None:
    """The suite's own process makes the mistake, too, that JOBPLANE_TEST_BUG names."""
    if bug := os.environ.get("JOBPLANE_TEST_BUG"):
        bugs.plant(bug)


def pytest_report_header() -> str:
    """The seed, so that a run can be repeated."""
    profile = "long" if is_long() else "short"
    return f"fault suite: {profile} profile, repeat with JOBPLANE_FAULTS_SEED={seed_of_this_run()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures of all runs; as a Markdown table too, where JOBPLANE_FAULTS_TABLE names a file."""
    reports = config.stash.get(_reports, [])
    if not reports:
        return
    terminalreporter.section(f"figures, seed {seed_of_this_run()}")
    for report in reports:
        terminalreporter.write_line(line(report))
    if where := os.environ.get("JOBPLANE_FAULTS_TABLE"):
        Path(where).write_text(markdown(reports), encoding="utf-8")
