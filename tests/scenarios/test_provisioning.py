"""The example's handler: killed after each step, run twice at once, given hostile names, and read by the curious."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from examples.control_plane import control_plane as example
from jobplane import DatabaseSettings, Fixed, JobQueue, JobStatus, JobType, Worker
from jobplane.embedded import EmbeddedServer
from jobplane.store.migrator import Migrator
from tests.support import scratch_base

EXAMPLE = Path(example.__file__).parent
NAMES = [entry["name"] for entry in json.loads((EXAMPLE / "projects.json").read_text("utf-8"))["projects"]]
STEPS = [
    "secrets stored",
    "role created",
    "database created",
    "database closed to others",
    "schema created",
    "API key registered",
    "ready",
]
AT_ONCE = Fixed(timedelta(0))

# A worker process would be killed at some moment near a step; this one kills itself right after it.
PROVISION = """
import asyncio, json, os, signal, sys, uuid
import control_plane as example

values, last_step, command = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3]

def report(fraction, step):
    if step == last_step:
        os.kill(os.getpid(), signal.SIGKILL)

async def run_and_die(admin, template, *values):
    if command and template.startswith(command):
        asyncio.get_running_loop().call_later(0.002, os.kill, os.getpid(), signal.SIGKILL)
    await run(admin, template, *values)

run, example.run = example.run, run_and_die
asyncio.run(example.provision(example.Project(**{**values, "id": uuid.UUID(values["id"])}), report))
"""


@dataclass
class Platform:
    """A server with the control plane's own tables, and what the handler's environment says of it."""

    url: str
    vault: Path

    def process(self, project: example.Project, *, dies_after: str = "", dies_in: str = "") -> int:
        """Provision in a process of its own; its exit code."""
        values = json.dumps({**asdict(project), "id": str(project.id)})
        paths = os.pathsep.join([str(EXAMPLE), os.environ.get("PYTHONPATH", "")])
        return subprocess.run(
            [sys.executable, "-c", PROVISION, values, dies_after, dies_in],
            env={
                **os.environ,
                "DATABASE_URL": self.url,
                "JOBPLANE_DEMO_SECRETS": str(self.vault),
                "PYTHONPATH": paths,
            },
            check=False,
            timeout=60,
        ).returncode

    def secret(self, project: example.Project, name: str) -> str:
        """What the vault keeps."""
        return (self.vault / f"{project.role}.{name}").read_text("ascii")


@pytest.fixture
async def platform(
    database_url: str,
    sql: asyncpg.Connection[asyncpg.Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[Platform]:
    """A home database, from which all projects of the test are removed at the end."""
    await sql.execute((EXAMPLE / "schema.sql").read_text("utf-8"))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("JOBPLANE_DEMO_SECRETS", str(tmp_path / "vault"))
    yield Platform(database_url, tmp_path / "vault")
    for project in _projects:
        await sql.execute(f'DROP DATABASE IF EXISTS "{project.role}" WITH (FORCE)')
        await sql.execute(f'DROP ROLE IF EXISTS "{project.role}"')
    _projects.clear()


_projects: list[example.Project] = []


def new_project(name: str = "Acme", plan: str = "free", fail_attempts: int = 0) -> example.Project:
    """A project that the fixture removes again."""
    simulate = {"fail_attempts": fail_attempts}
    project = example.Project(uuid.uuid4(), name, "slug", plan, "owner@acme.example", "eu-central", simulate)
    _projects.append(project)
    return project


def silent(_fraction: float, _step: str) -> None:
    """A report that nobody reads."""


async def assert_provisioned(
    platform: Platform, project: example.Project, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    """One role and one database, open to the password in the vault alone; the key's hash; the state ready."""
    own = await asyncpg.connect(
        platform.url, user=project.role, password=platform.secret(project, "password"), database=project.role
    )
    try:
        await own.execute("INSERT INTO app.notes (body) VALUES ($1)", project.name)
        assert await own.fetchval("SELECT body FROM app.notes") == project.name
        assert (
            await own.fetchval("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'app'")
            == project.role
        )
    finally:
        await own.close()
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(platform.url, user=project.role, password="wrong", database=project.role)
    row = await sql.fetchrow(
        "SELECT (SELECT count(*) FROM pg_database WHERE datname = $1) AS databases, "
        "(SELECT count(*) FROM pg_roles WHERE rolname = $1) AS roles, "
        "(SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = $1) AS may_too_much, "
        "(SELECT sha256 FROM control_plane_demo.api_keys WHERE project_id = $2) AS sha256",
        project.role,
        project.id,
    )
    assert row is not None
    api_key = platform.secret(project, "api_key")
    assert tuple(row) == (1, 1, False, hashlib.sha256(api_key.encode()).digest())
    assert (await example.look(sql, project))["tag"] == project.tag(example.READY)


async def names_like(sql: asyncpg.Connection[asyncpg.Record], project: example.Project) -> list[str]:
    """What is left of a project in the server."""
    rows = await sql.fetch(
        "SELECT datname FROM pg_database WHERE datname = $1 UNION ALL SELECT rolname FROM pg_roles WHERE rolname = $1",
        project.role,
    )
    return [str(row[0]) for row in rows]


# -- crashes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS)
async def test_what_is_killed_after_a_step_is_completed_by_the_next_run(
    step: str, platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    project = new_project()
    assert await asyncio.to_thread(platform.process, project, dies_after=step) == -signal.SIGKILL
    password = platform.secret(project, "password")

    assert await asyncio.to_thread(platform.process, project) == 0

    assert platform.secret(project, "password") == password
    await assert_provisioned(platform, project, sql)


@pytest.mark.parametrize("command", ["CREATE ROLE", "ALTER ROLE", "CREATE DATABASE", "REVOKE"])
async def test_what_is_killed_within_a_statement_is_completed_by_the_next_run(
    command: str, platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    project = new_project()
    assert await asyncio.to_thread(platform.process, project, dies_in=command) == -signal.SIGKILL

    # At once: the backend of the killed process may still be making the database.
    assert await asyncio.to_thread(platform.process, project) == 0

    await assert_provisioned(platform, project, sql)


async def test_running_again_changes_nothing(
    platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    project = new_project()
    first = await example.provision(project, silent)
    secrets_before = {path.name: path.read_text() for path in platform.vault.iterdir()}

    assert await example.provision(project, silent) == first

    assert {path.name: path.read_text() for path in platform.vault.iterdir()} == secrets_before
    await assert_provisioned(platform, project, sql)


async def test_runs_at_the_same_time_make_one_database(
    platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    project = new_project()

    await asyncio.gather(*(example.provision(project, silent) for _ in range(4)))

    await assert_provisioned(platform, project, sql)
    assert sorted(path.name for path in platform.vault.iterdir()) == [
        f"{project.role}.api_key",
        f"{project.role}.password",
    ]


def test_whoever_asks_for_a_secret_at_the_same_time_gets_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBPLANE_DEMO_SECRETS", str(tmp_path))
    everyone = threading.Barrier(8)

    def ask(number: int) -> str:
        everyone.wait()
        return example.secret(f"secret-{number}")

    with ThreadPoolExecutor(8) as pool:
        for number in range(20):
            answers = set(pool.map(ask, [number] * 8))
            assert answers == {(tmp_path / f"secret-{number}").read_text("ascii")}
    assert len(list(tmp_path.iterdir())) == 20
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


# -- names and secrets -------------------------------------------------------------------------------------------------


async def test_hostile_names_are_only_ever_text(
    platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    projects = [new_project(name) for name in NAMES]
    for start in range(0, len(projects), 4):
        await asyncio.gather(*(example.provision(project, silent) for project in projects[start : start + 4]))

    for project in projects:
        tag = await sql.fetchval(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1", project.role
        )
        assert tag.endswith(f": {project.name}")
        await assert_provisioned(platform, project, sql)
    rows = await sql.fetch("SELECT datname FROM pg_database UNION ALL SELECT rolname FROM pg_roles")
    assert {str(row[0]) for row in rows} & set(NAMES) == {"template1", "pg_monitor"}  # PostgreSQL's own
    assert await sql.fetchval("SELECT to_regclass('control_plane.jobs') IS NOT NULL")


@pytest.fixture
def talkative_url() -> Iterator[tuple[str, Path]]:
    """A server that logs every statement, and its log."""
    folder = Path(tempfile.mkdtemp(prefix="jobplane-test-", dir=scratch_base()))
    folder.chmod(0o755)
    with EmbeddedServer(folder / "data", fsync=False, settings={"log_statement": "all"}) as server:
        yield server.url(), server.log_file
    shutil.rmtree(folder)


async def test_neither_log_nor_activity_nor_job_holds_a_password(
    talkative_url: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, log = talkative_url
    settings = DatabaseSettings(url=url)
    await Migrator(settings).up()
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("JOBPLANE_DEMO_SECRETS", str(tmp_path))
    curious = await asyncpg.connect(url)
    await curious.execute((EXAMPLE / "schema.sql").read_text("utf-8"))
    project = new_project(fail_attempts=1)
    _projects.clear()  # this server is thrown away as a whole
    seen = ""
    async with JobQueue(settings=settings) as queue, Worker(example.queue.registry, database=settings):
        made = await queue.enqueue(JobType.PROVISION_PROJECT, payload_of(project), retry=AT_ONCE)
        while not (job := await queue.get_job(made.id)) or not job.is_terminal:
            rows = await curious.fetch("SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
            seen += "\n".join(str(row[0]) for row in rows)
    assert job.status is JobStatus.COMPLETED
    rows = await curious.fetch(
        "SELECT j::text, a::text FROM control_plane.jobs AS j JOIN control_plane.job_attempts AS a ON a.job_id = j.id"
    )
    await curious.close()
    written = log.read_text("utf-8", "replace")
    assert f"ALTER ROLE {project.role}" in written
    assert "SCRAM-SHA-256$" in written
    assert f"project {project.id}" in seen + written
    for name in ("password", "api_key"):
        secret = (tmp_path / f"{project.role}.{name}").read_text("ascii")
        assert secret not in written
        assert secret not in seen
        assert not any(secret in str(tuple(row)) for row in rows)


# -- rights and refusals -----------------------------------------------------------------------------------------------


async def test_a_role_that_may_only_create_roles_and_databases_can_provision(
    platform: Platform, sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"provisioner_{uuid.uuid4().hex}"
    await sql.execute(f"CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD 'p'")
    await sql.execute(f"GRANT USAGE ON SCHEMA control_plane_demo TO {name}")
    await sql.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON control_plane_demo.api_keys TO {name}")
    where = platform.url.rpartition("@")[2]
    monkeypatch.setenv("CONTROL_PLANE_PROVISIONER_URL", f"postgresql://{name}:p@{where}")
    kept, undone = new_project(), new_project()
    await example.provision(kept, silent)
    with pytest.raises(example.RegionUnavailableError):
        await example.provision(replace(undone, simulate={"fail_attempts": 1}), silent)

    await example.undo(undone)

    await assert_provisioned(platform, kept, sql)
    assert await names_like(sql, undone) == []
    await sql.execute(f'DROP DATABASE "{kept.role}"')
    await sql.execute(f'DROP ROLE "{kept.role}"')
    await sql.execute(f"DROP OWNED BY {name}")
    await sql.execute(f"DROP ROLE {name}")


async def test_a_role_that_someone_else_made_is_neither_used_nor_dropped(
    platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    project = new_project()
    await sql.execute(f'CREATE ROLE "{project.role}" NOLOGIN')

    with pytest.raises(example.NotOursError, match="does not name this project"):
        await example.provision(project, silent)
    await example.undo(project)

    assert await names_like(sql, project) == [project.role]
    assert not await sql.fetchval("SELECT rolcanlogin FROM pg_roles WHERE rolname = $1", project.role)


async def test_a_database_that_someone_else_made_is_neither_used_nor_dropped(
    platform: Platform, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    project = new_project()
    await sql.execute(f'CREATE DATABASE "{project.role}" TEMPLATE template0')

    with pytest.raises(example.NotOursError, match="belongs to"):
        await example.provision(project, silent)
    await example.undo(project)

    assert await names_like(sql, project) == [project.role, project.role]


# -- as a job ----------------------------------------------------------------------------------------------------------


def payload_of(project: example.Project) -> dict[str, dict[str, str | dict[str, int]]]:
    """The arguments of the project's job."""
    return {"project": {**asdict(project), "id": str(project.id)}}


async def test_a_job_that_fails_for_good_takes_back_what_it_began(
    platform: Platform,
    queue: JobQueue,
    sql: asyncpg.Connection[asyncpg.Record],
    make_worker: Callable[..., Worker],
) -> None:
    project = new_project(fail_attempts=3)
    async with make_worker(example.queue.registry):
        made = await queue.enqueue(JobType.PROVISION_PROJECT, payload_of(project), retry=AT_ONCE)
        job = await queue.wait(made.id, 30)

    assert (job.status, job.attempts) == (JobStatus.FAILED, 3)
    assert "does not answer" in str(job.last_error)
    assert await names_like(sql, project) == []
    assert list(platform.vault.iterdir()) == []


async def test_a_job_that_fails_does_not_touch_what_was_ready_before(
    platform: Platform,
    queue: JobQueue,
    sql: asyncpg.Connection[asyncpg.Record],
    make_worker: Callable[..., Worker],
) -> None:
    project = new_project()
    await example.provision(project, silent)
    failing = replace(project, simulate={"fail_attempts": 3})
    async with make_worker(example.queue.registry):
        made = await queue.enqueue(JobType.PROVISION_PROJECT, payload_of(failing), retry=AT_ONCE)
        job = await queue.wait(made.id, 30)

    assert job.status is JobStatus.FAILED
    await assert_provisioned(platform, project, sql)


async def test_a_plan_that_does_not_exist_fails_at_once_and_makes_nothing(
    platform: Platform,
    queue: JobQueue,
    sql: asyncpg.Connection[asyncpg.Record],
    make_worker: Callable[..., Worker],
) -> None:
    project = new_project(plan="unlimited-for-free")
    async with make_worker(example.queue.registry):
        made = await queue.enqueue(JobType.PROVISION_PROJECT, payload_of(project))
        job = await queue.wait(made.id, 30)

    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)
    assert "there is no plan" in str(job.last_error)
    assert await names_like(sql, project) == []
    assert not platform.vault.exists()
