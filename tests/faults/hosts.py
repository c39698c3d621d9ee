"""Network namespaces as hosts: a server's and some workers', joined by a bridge, none of them this machine's own."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from jobplane.embedded import EmbeddedServer
from jobplane.embedded.postmaster import Postmaster, launch
from jobplane.embedded.programs import find_programs, server_account
from tests.faults.clusters import test_programs
from tests.faults.programs import IP, NFT, need, need_root

SUBNET: Final = "10.203.0"
PORT: Final = 5432
_CLONE_NEWNET: Final = 0x40000000


class Hosts:
    """A server host and worker hosts. While it is entered, this thread and what it starts live on the server's host.

    Args:
        workers: how many worker hosts.
    """

    def __init__(self, workers: int) -> None:
        need_root("make network namespaces")
        self._ip, self._nft = need(IP), need(NFT)
        mark = uuid.uuid4().hex[:6]
        self.server = f"jp-{mark}-db"
        self.workers = [f"jp-{mark}-w{number}" for number in range(workers)]

    def prefix(self, worker: int) -> list[str]:
        """What starts a command on a worker's host."""
        return [self._ip, "netns", "exec", self.workers[worker]]

    @contextmanager
    def unplugged(self, worker: int) -> Iterator[None]:
        """The cable of a worker's host is out: nothing gets through, and nothing says so."""
        self._on(self.server, "link", "set", f"v{worker}", "down")
        try:
            yield
        finally:
            self._on(self.server, "link", "set", f"v{worker}", "up")

    @contextmanager
    def one_way(self, worker: int, direction: str) -> Iterator[None]:
        """Packets of one direction (input or output, as the worker's host sees it) are dropped."""
        hook = f"type filter hook {direction} priority 0; policy drop;"
        rules = f"table inet cut {{\nchain drop_all {{\n{hook}\n}}\n}}\n"
        self._run(*self.prefix(worker), self._nft, rules)
        try:
            yield
        finally:
            self._run(*self.prefix(worker), self._nft, "delete table inet cut")

    def __enter__(self) -> Self:
        for name in (self.server, *self.workers):
            self._run(self._ip, "netns", "add", name)
            self._on(name, "link", "set", "lo", "up")
        self._on(self.server, "link", "add", "bridge", "type", "bridge")
        self._on(self.server, "addr", "add", f"{SUBNET}.1/24", "dev", "bridge")
        self._on(self.server, "link", "set", "bridge", "up")
        for number, name in enumerate(self.workers):
            cable = ["type", "veth", "peer", "name", "eth0", "netns", name]
            self._on(self.server, "link", "add", f"v{number}", *cable)
            self._on(self.server, "link", "set", f"v{number}", "master", "bridge", "up")
            self._on(name, "addr", "add", f"{SUBNET}.{number + 2}/24", "dev", "eth0")
            self._on(name, "link", "set", "eth0", "up")
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        here = os.open(f"/var/run/netns/{self.server}", os.O_RDONLY)
        _enter(here)
        os.close(here)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _enter(self._home)
        os.close(self._home)
        for name in (self.server, *self.workers):
            self._run(self._ip, "netns", "delete", name)

    def _on(self, host: str, *arguments: str) -> None:
        self._run(self._ip, "-n", host, *arguments)

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class ReachableServer:
    """A server that listens on its host's address too.

    Args:
        folder: where it lives.
    """

    def __init__(self, folder: Path) -> None:
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._embedded = EmbeddedServer(self._data, bin_dir=test_programs())
        self._running: Postmaster | None = None
        self._password = ""

    def url(self, host: str = "127.0.0.1") -> str:
        """Its URL, as this host or (by SUBNET.1) another sees it."""
        assert self._running is not None, "it has not been started"
        return f"postgresql://postgres:{self._password}@{host}:{self._running.port}/postgres"

    def __enter__(self) -> Self:
        # The embedded server makes the folder, and listens on loopback only: start it once, and then in our own way.
        self._password = self._embedded.start().split("@")[0].rpartition(":")[2]
        self._embedded.stop()
        with (self._data / "pg_hba.conf").open("a") as access:
            access.write(f"host all all {SUBNET}.0/24 scram-sha-256\n")
        settings = {"listen_addresses": f"127.0.0.1,{SUBNET}.1", "unix_socket_directories": ""}
        # A server gives up half-open clients, or they would keep its connections.
        settings |= {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "1", "tcp_user_timeout": "10s"}
        programs = find_programs(test_programs(), server_account(self._data))
        self._running = launch(programs, self._data, port=PORT, settings=settings, log_file=self._log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._running is not None:
            self._running.shut_down(signal.SIGINT, self._data)


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
