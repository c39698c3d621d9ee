"""`jobplane demo`, run as people run it: to its end, interrupted, killed, with its worker killed, and kept."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from jobplane import JobQueue
from jobplane.cli.demo_ground import OWNER, as_someone, url_of
from jobplane.embedded import EmbeddedServer
from jobplane.settings import DatabaseSettings
from jobplane.store.migrator import Migrator
from tests.support import scratch_base, until

ROOT = Path(__file__).resolve().parents[2]
PROJECTS: list[dict[str, object]] = [
    {"name": "Acme"},
    {"name": '"; DROP DATABASE postgres; --'},
    {"name": "O'Reilly \\ 日本 🚀 \u202e"},
    {"name": "Flaky", "simulate": {"fail_attempts": 1}},
    {"name": "Impossible", "plan": "none such", "expect": "failure"},
    {"name": "Atlantis", "simulate": {"fail_attempts": 3}, "expect": "failure"},
]
BESIDE_THE_DATA = {"data.lock", "data.log", "data.password", "data.users"}


class Demo:
    """A `jobplane demo` that runs, and what it has printed."""

    def __init__(self, folder: Path, *options: str) -> None:
        self._data = folder / "data"
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "jobplane", "demo", "--data-dir", str(self._data), *options],
            cwd=ROOT,
            env={name: value for name, value in os.environ.items() if not name.startswith("JOBPLANE_")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until(self, pattern: str) -> re.Match[str]:
        """Read on until a line matches."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"no line matches {pattern!r} in:\n{self.output}")

    def end(self) -> int:
        """Read to the end; the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        self.process.stdout.close()
        return self.process.wait(30)

    @property
    def output(self) -> str:
        """What was printed so far."""
        return "\n".join(self.lines)

    @property
    def worker(self) -> int:
        """The process id of its worker."""
        found = re.search(r"worker process (\d+)", self.output)
        assert found is not None, self.output
        return int(found[1])


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder for the data of the demos of this module: each finds what the one before it left, which is nothing."""
    made = Path(tempfile.mkdtemp(prefix="jobplane-demo-", dir=scratch_base()))
    made.chmod(0o755)
    projects = [
        {
            "id": str(uuid.uuid4()),
            "slug": f"project-{number}",
            "plan": "free",
            "owner": "me",
            "region": "x",
            **project,
        }
        for number, project in enumerate(PROJECTS)
    ]
    (made / "projects.json").write_text(json.dumps({"projects": projects}))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos of six projects; one that is still alive at the end is told to stop."""
    started: list[Demo] = []

    def start(*options: str) -> Demo:
        demo = Demo(folder, "--projects", str(folder / "projects.json"), *options)
        started.append(demo)
        return demo

    yield start
    for demo in started:
        if demo.process.poll() is None:
            demo.process.terminate()
        if demo.process.stdout is not None and not demo.process.stdout.closed:
            demo.end()


def kept_in(demo: Demo) -> tuple[str, str]:
    """What a demo that kept its projects says of how to connect: the URL, and the password in a private file."""
    found = re.search(r'"\$\(cat (\S+)\)" psql (\S+)', demo.output)
    assert found is not None, demo.output
    assert Path(found[1]).stat().st_mode & 0o777 == 0o600
    return found[2], Path(found[1]).read_text("ascii")


def files_in(folder: Path) -> set[str]:
    """The names in a folder."""
    return {path.name for path in folder.iterdir()}


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def ended(pid: int) -> bool | None:
    """For `until`."""
    return not is_running(pid) or None


async def names_in(folder: Path) -> list[str]:
    """The databases and roles that are not PostgreSQL's own, and how many jobs and workers there are."""
    with EmbeddedServer(folder / "data") as server:
        connection = await asyncpg.connect(server.url())
        try:
            rows = await connection.fetch(
                "SELECT datname FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1') "
                "UNION ALL SELECT rolname FROM pg_roles WHERE rolname <> 'postgres' AND rolname NOT LIKE 'pg\\_%' "
                "UNION ALL SELECT 'job ' || type FROM control_plane.jobs "
                "UNION ALL SELECT 'worker ' || id FROM control_plane.workers "
                "UNION ALL SELECT nspname FROM pg_namespace WHERE nspname = 'control_plane_demo'"
            )
        finally:
            await connection.close()
    return [str(row[0]) for row in rows]


async def assert_nothing_is_left(folder: Path) -> None:
    """Neither a running server, nor files of the demo, nor anything in the server."""
    assert not (folder / "data" / "postmaster.pid").exists()
    assert files_in(folder) - {"data", "projects.json"} == BESIDE_THE_DATA
    assert await names_in(folder) == []


async def test_it_provisions_proves_and_leaves_nothing(start: Callable[..., Demo], folder: Path) -> None:
    demo = start()

    assert demo.end() == 0, demo.output

    for sentence in (
        "proof: 4 of 4 roles log in to their own database with their password and write to their table",
        "proof: 4 of 4 roles are refused with a wrong password",
        "proof: 4 of 4 roles are refused by their neighbour's database",
        "proof: 4 of 4 API keys match the hash that alone is kept of them",
        "proof: 2 of 2 projects that failed for good left nothing behind",
        "proof: 8 of 8 passwords and keys are in no job",
        "4 of 6 projects provisioned, 2 failed as their file expects, 0 failed otherwise",
        "3 retries",
        "there is no plan 'none such'",
        "does not answer (simulated)",
    ):
        assert sentence in demo.output
    assert not is_running(demo.worker)
    await assert_nothing_is_left(folder)


@pytest.mark.parametrize(
    "moment",
    ["starting PostgreSQL", "is ready", "worker process", "running", "done", "retrying", "proof: ", "in all"],
)
async def test_ctrl_c_at_any_moment_leaves_nothing(
    start: Callable[..., Demo], folder: Path, moment: str
) -> None:
    demo = start()
    demo.until(moment)

    demo.process.send_signal(signal.SIGINT)

    assert demo.end() == 130, demo.output
    assert "Traceback" not in demo.output
    if (folder / "data").exists():
        await assert_nothing_is_left(folder)


async def test_a_second_ctrl_c_does_not_stop_the_cleaning(start: Callable[..., Demo], folder: Path) -> None:
    demo = start()
    demo.until("done")
    demo.process.send_signal(signal.SIGINT)
    demo.until("interrupted")

    demo.process.send_signal(signal.SIGINT)

    assert demo.end() == 130, demo.output
    await assert_nothing_is_left(folder)


async def test_after_a_kill_the_worker_ends_and_the_next_run_works(
    start: Callable[..., Demo], folder: Path
) -> None:
    killed = start()
    killed.until("done")
    killed.process.kill()
    killed.end()
    await until(lambda: ended(killed.worker))

    demo = start()

    assert demo.end() == 0, demo.output
    assert re.search(r"removed what an earlier demo kept or left: [1-6] projects", demo.output)
    await assert_nothing_is_left(folder)


async def test_a_killed_worker_is_replaced_and_its_jobs_are_done(
    start: Callable[..., Demo], folder: Path
) -> None:
    demo = start()
    demo.until("running")
    os.kill(demo.worker, signal.SIGKILL)

    assert demo.end() == 0, demo.output

    assert f"worker {demo.worker} was killed (SIGKILL)" in demo.output
    assert "4 of 6 projects provisioned" in demo.output
    await assert_nothing_is_left(folder)


async def test_what_is_kept_can_be_used_and_removed(start: Callable[..., Demo], folder: Path) -> None:
    demo = start("--keep")
    assert demo.end() == 0, demo.output
    url, password = kept_in(demo)
    connection = await asyncpg.connect(url, password=password)
    assert await connection.fetchval("SELECT body FROM app.notes") == "Acme"
    await connection.close()

    removal = start("--remove")

    assert removal.end() == 0, removal.output
    assert "removed what earlier demos kept or left: 4 projects" in removal.output
    await assert_nothing_is_left(folder)


async def test_a_server_that_another_demo_uses_is_left_alone(
    start: Callable[..., Demo], folder: Path
) -> None:
    with EmbeddedServer(folder / "data") as server:
        other = await asyncpg.connect(server.url())
        await other.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))", OWNER)
        await other.execute("CREATE ROLE p_other")
        await other.execute(f"COMMENT ON ROLE p_other IS '{OWNER}: project {uuid.uuid4()}, ready: x'")

        demo = start()

        assert demo.end() == 1, demo.output
        assert "error: Another demo uses this server" in demo.output
        await other.execute("DROP ROLE p_other")
        await other.close()


async def test_what_is_not_a_demos_own_is_never_removed(start: Callable[..., Demo], folder: Path) -> None:
    with EmbeddedServer(folder / "data") as server:
        connection = await asyncpg.connect(server.url())
        await Migrator(DatabaseSettings(url=server.url())).up()
        await connection.execute("CREATE ROLE p_real")
        await connection.execute(
            f"COMMENT ON ROLE p_real IS 'control plane: project {uuid.uuid4()}, ready: Acme'"
        )
        await connection.execute("CREATE DATABASE p_real OWNER p_real TEMPLATE template0")
        await connection.execute((ROOT / "examples" / "control_plane" / "schema.sql").read_text("utf-8"))
        await connection.execute(
            "INSERT INTO control_plane_demo.api_keys (project_id, sha256) VALUES ($1, $2)",
            uuid.uuid4(),
            bytes(32),
        )
        async with JobQueue(server.url()) as queue:
            job = await queue.enqueue("provision_project", tags=["real"])

        removal = start("--remove")
        assert removal.end() == 0, removal.output

        left = ["p_real", "p_real", "job provision_project", "control_plane_demo"]
        assert sorted(await names_in(folder)) == sorted(left)
        assert await connection.fetchval("SELECT count(*) FROM control_plane_demo.api_keys") == 1
        await connection.execute("DROP DATABASE p_real")
        await connection.execute("DROP ROLE p_real")
        await connection.execute("DROP SCHEMA control_plane_demo CASCADE")
        await connection.execute("DELETE FROM control_plane.jobs WHERE id = $1", job.id)
        await connection.close()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be used as a list of projects"),
        ('{"projects": []}', "names no project"),
        ('{"projects": [{"id": "no uuid"}]}', r"Invalid UUID - at `\$\.projects\[0\]\.id`"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_is_started(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = tmp_path / "projects.json"
    path.write_text(text)

    demo = Demo(tmp_path, "--projects", str(path))

    assert demo.end() == 2
    assert re.search(complaint, demo.output)
    assert files_in(tmp_path) == {"projects.json"}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://admin:p%40ss@db:5433/home?sslmode=require",
            "postgresql://r:s%2F@db:5433/d?sslmode=require",
        ),
        (
            "postgresql:///home?host=/run/postgresql&user=admin",
            "postgresql://r:s%2F@/d?host=%2Frun%2Fpostgresql",
        ),
        ("postgresql://admin@[::1]:5432/home", "postgresql://r:s%2F@[::1]:5432/d"),
    ],
)
def test_a_url_names_the_same_server_for_someone_else(url: str, expected: str) -> None:
    assert as_someone(url, "r", "s/", "d") == expected


def test_settings_by_parts_become_a_url() -> None:
    by_host = DatabaseSettings(host="db", port=5433, name="a/b", user="u@x", password="p:/", ssl="require")
    by_socket = DatabaseSettings(host="/run/postgresql", name="home")

    assert url_of(by_host) == "postgresql://u%40x:p%3A%2F@db:5433/a%2Fb?sslmode=require"
    assert url_of(by_socket) == "postgresql:///home?sslmode=prefer&host=%2Frun%2Fpostgresql&port=5432"
