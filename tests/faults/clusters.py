"""More PostgreSQL than one embedded server: a standby that is promoted, and a pooler in front."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import asyncpg

from jobplane.embedded import EmbeddedServer
from jobplane.embedded.postmaster import Postmaster, launch
from jobplane.embedded.programs import find_programs, run, server_account
from tests.faults.programs import PGBOUNCER, need, servers_account
from tests.support import until


def test_programs() -> Path | None:
    """The programs of another PostgreSQL, where JOBPLANE_TEST_BIN_DIR names them."""
    given = os.environ.get("JOBPLANE_TEST_BIN_DIR")
    return Path(given) if given else None


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Pair:
    """A primary and its streaming standby, which may take its place once.

    Args:
        folder: where both live; passable for the account that runs servers.
        synchronous: whether a commit waits for the standby.
    """

    def __init__(self, folder: Path, *, synchronous: bool) -> None:
        self._folder = folder
        self._synchronous = synchronous
        self.primary = EmbeddedServer(folder / "primary", bin_dir=test_programs())
        self._standby_dir = folder / "standby"
        self._standby: Postmaster | None = None
        self._sender: int | None = None
        self._programs = find_programs(test_programs(), server_account(folder / "primary"))

    @property
    def url(self) -> str:
        """Both hosts, whichever can be written to."""
        parts = urlsplit(self.primary.url())
        hosts = f"127.0.0.1:{parts.port},127.0.0.1:{self.standby.port}"
        return f"postgresql://postgres:{parts.password}@{hosts}/postgres?target_session_attrs=read-write"

    @property
    def standby(self) -> Postmaster:
        """The standby's process."""
        assert self._standby is not None, "the pair has not been started"
        return self._standby

    @property
    def standby_url(self) -> str:
        """The standby alone."""
        parts = urlsplit(self.primary.url())
        return f"postgresql://postgres:{parts.password}@127.0.0.1:{self.standby.port}/postgres"

    def __enter__(self) -> Self:
        self.primary.start()
        source = self.primary.url()
        program = self._programs.folder / "pg_basebackup"
        command: list[str | Path] = [program, "-D", self._standby_dir, "-R", "-c", "fast", "--no-sync"]
        command += ["-d", f"{source}?application_name=s1"]
        self._standby_dir.mkdir(mode=0o700)
        if (account := self._programs.account) is not None:
            os.chown(self._standby_dir, account.uid, account.gid)
        run(command, account)
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "shared_buffers": "64MB"}
        log = self._folder / "standby.log"
        self._standby = launch(
            self._programs, self._standby_dir, port=free_port(), settings=settings, log_file=log
        )
        return self

    async def ready(self) -> None:
        """Wait until the standby streams, and, if it is to be, is synchronous."""
        connection = await asyncpg.connect(self.primary.url())
        if self._synchronous:
            await connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (s1)'")
            await connection.execute("SELECT pg_reload_conf()")
        wanted = "quorum" if self._synchronous else "async"

        async def streams() -> bool:
            query = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = $1"
            return bool(await connection.fetchval(query, wanted))

        await until(streams)
        await connection.close()

    def kill_primary(self) -> None:
        """SIGKILL for the postmaster; its children end with it."""
        pid = self.primary.postmaster_pid
        os.kill(pid, signal.SIGKILL)
        _until_gone(pid)
        if self._sender is not None:  # stopped, it cannot see that it should end
            os.kill(self._sender, signal.SIGKILL)

    async def promote(self) -> None:
        """Make the standby the primary; returns when it can be written to."""
        connection = await asyncpg.connect(self.standby_url)
        assert await connection.fetchval("SELECT pg_promote(true, 30)")
        await connection.close()

    async def caught_up(self) -> None:
        """Wait until the standby has all that is committed."""
        connection = await asyncpg.connect(self.primary.url())

        async def level() -> bool:
            query = "SELECT bool_and(replay_lsn >= pg_current_wal_lsn()) FROM pg_stat_replication"
            return bool(await connection.fetchval(query))

        await until(level)
        await connection.close()

    async def make_deaf(self) -> None:
        """The standby receives nothing any more: what is committed from now on, it will not have."""
        connection = await asyncpg.connect(self.primary.url())
        self._sender = int(await connection.fetchval("SELECT pid FROM pg_stat_replication"))
        await connection.close()
        os.kill(self._sender, signal.SIGSTOP)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._standby is not None:
            self._standby.shut_down(signal.SIGQUIT, self._standby_dir)
        self.primary.stop()


def _until_gone(pid: int, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():
            return
        time.sleep(0.01)


class Pooler:
    """PgBouncer in transaction mode before a server.

    Args:
        server_url: the server's URL.
        folder: where its files go.
        settings: of PgBouncer, over ours.
    """

    def __init__(self, server_url: str, folder: Path, settings: Mapping[str, str] | None = None) -> None:
        self._program = need(PGBOUNCER)
        self._server = urlsplit(server_url)
        self._folder = folder
        self._settings = settings or {}
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.log = folder / "pgbouncer.log"

    @property
    def url(self) -> str:
        """The way through the pooler."""
        server = self._server
        return f"postgresql://{server.username}:{server.password}@127.0.0.1:{self._port}{server.path}"

    def __enter__(self) -> Self:
        self._folder.mkdir(exist_ok=True)
        self._folder.chmod(0o755)
        users = self._folder / "users.txt"
        users.write_text(f'"{self._server.username}" "{self._server.password}"\n')
        settings = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "unix_socket_dir": "",
            "auth_type": "trust",
            "auth_file": str(users),
            "pool_mode": "transaction",
            "default_pool_size": "8",
            "max_client_conn": "500",
            **self._settings,
        }
        config = self._folder / "pgbouncer.ini"
        lines = ["[databases]", f"* = host=127.0.0.1 port={self._server.port}", "[pgbouncer]"]
        config.write_text(
            "\n".join([*lines, *(f"{name} = {value}" for name, value in settings.items())]) + "\n"
        )
        account = servers_account()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [self._program, str(config)],
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
            )
        end = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)
        return self

    def _answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
