"""PgBouncer in transaction mode before the tests' server: each transaction may meet another server connection."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest


def pgbouncer() -> str:
    """The program; installed where we are root on Debian and it is missing, else a skip that says how."""
    found = _program()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "pgbouncer"],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            check=False,
            capture_output=True,
        )
        found = _program()
    if found is None:
        pytest.skip("NOT TESTED: pgbouncer is missing; get it with: apt-get install pgbouncer")
    return found


@contextmanager
def pooled(server_url: str, users: Mapping[str, str], size: int) -> Iterator[int]:
    """Run it with at most `size` server connections for each user and database; gives the port."""
    # Not in pytest's folders, which are private: the account that it runs as must be able to enter.
    with tempfile.TemporaryDirectory(prefix="jobplane-pooler-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield from _running(pgbouncer(), server_url, users, folder, size)


def _running(
    program: str, server_url: str, users: Mapping[str, str], folder: Path, size: int
) -> Iterator[int]:
    server, port = urlsplit(server_url), _free_port()
    (folder / "users.txt").write_text("".join(f'"{name}" "{word}"\n' for name, word in users.items()))
    (folder / "pgbouncer.ini").write_text(f"""
[databases]
* = host={server.hostname} port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {folder / "users.txt"}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
""")
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen(
            [program, str(folder / "pgbouncer.ini")],
            stdout=log,
            stderr=log,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
    try:
        end = time.monotonic() + 10
        while not _answers(port):
            assert process.poll() is None, (folder / "pgbouncer.log").read_text()
            assert time.monotonic() < end, (folder / "pgbouncer.log").read_text()
            time.sleep(0.02)
        yield port
    finally:
        process.kill()
        process.wait(10)


def _program() -> str | None:
    # Debian keeps it where only root looks.
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
