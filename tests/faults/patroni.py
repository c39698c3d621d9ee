"""Three PostgreSQL servers under Patroni, with etcd to agree who leads; synchronous replication, strictly."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from tests.faults.clusters import free_port
from tests.faults.programs import ETCD, PATRONI, need, servers_account
from tests.support import until

PASSWORD: Final = "only-on-loopback"
NODES: Final = ("n1", "n2", "n3")


@dataclass(frozen=True)
class Node:
    """One server with its Patroni."""

    name: str
    port: int
    api: str
    data: Path
    log: Path


class PatroniCluster:
    """`async with PatroniCluster(folder) as cluster:`; the folder must be passable for the account that runs servers."""

    def __init__(self, folder: Path) -> None:
        self._patroni, self._etcd = need(PATRONI), need(ETCD)
        self._bin = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
        if self._bin is None:
            pytest.skip(
                "NOT TESTED: Patroni needs PostgreSQL's programs; get them with: apt-get install postgresql"
            )
        self._folder = folder
        self._etcd_url = f"127.0.0.1:{free_port()}"
        self.nodes = [
            Node(
                name, free_port(), f"127.0.0.1:{free_port()}", folder / name / "data", folder / f"{name}.log"
            )
            for name in NODES
        ]
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """All three hosts, whichever can be written to."""
        hosts = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"postgresql://postgres:{PASSWORD}@{hosts}/postgres?target_session_attrs=read-write"

    async def leader(self) -> Node:
        """Who leads now; waits until somebody does."""

        async def found() -> Node | None:
            roles = await self._roles()
            return next((node for node in self.nodes if roles.get(node.name) == "leader"), None)

        return await until(found, 60)

    async def healthy(self) -> None:
        """Wait until there are a leader, a synchronous standby and a third server that streams."""

        async def all_well() -> bool:
            roles = sorted((await self._roles(streaming=True)).values())
            return roles == ["leader", "replica", "sync_standby"]

        await until(all_well, 120)

    async def switch_over(self) -> None:
        """Hand leadership over in order."""
        leader = await self.leader()
        await asyncio.to_thread(_post, f"http://{leader.api}/switchover", {"leader": leader.name})

    async def kill_leader(self) -> None:
        """SIGKILL for the leader's postmaster."""
        leader = await self.leader()
        pid = int((leader.data / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)

    async def __aenter__(self) -> Self:
        self._spawn("etcd", [
            self._etcd, "--data-dir", str(self._folder / "etcd"), "--listen-client-urls", f"http://{self._etcd_url}",
            "--advertise-client-urls", f"http://{self._etcd_url}", "--listen-peer-urls", f"http://127.0.0.1:{free_port()}",
        ])  # fmt: skip
        for node in self.nodes:
            config = self._folder / f"{node.name}.json"  # YAML is what Patroni reads, and JSON is YAML
            config.write_text(json.dumps(self._config(node)))
            node.data.parent.mkdir(mode=0o700)
            for path in (node.data.parent, config):
                _give_away(path)
            self._spawn(node.name, [self._patroni, str(config)])
            if node is self.nodes[0]:
                await self.leader()
        await self.healthy()
        return self

    async def __aexit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(process.wait, 30)
            process.kill()

    async def _roles(self, *, streaming: bool = False) -> dict[str, str]:
        for node in self.nodes:
            with suppress(OSError, ValueError):
                answer = await asyncio.to_thread(_get, f"http://{node.api}/cluster")
                members = answer["members"]
                assert isinstance(members, list)
                good = ("running", "streaming") if streaming else ("running",)
                return {
                    member["name"]: member["role"]
                    for member in members
                    if member["state"] in good
                    or (member["role"] == "leader" and member["state"] == "running")
                }
        return {}

    def _spawn(self, name: str, command: list[str]) -> None:
        account = servers_account()
        if name == "etcd":
            (self._folder / "etcd").mkdir(mode=0o700)
            _give_away(self._folder / "etcd")
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd="/",
                env={"PATH": f"{self._bin}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "HOME": str(self._folder)},
                user=account.pw_uid if account else None,
                group=account.pw_gid if account else None,
                extra_groups=[] if account else None,
                start_new_session=True,
            )
        self._processes.append(process)

    def _config(self, node: Node) -> Mapping[str, object]:
        access = [
            "host all all 127.0.0.1/32 scram-sha-256",
            "host replication all 127.0.0.1/32 scram-sha-256",
        ]
        return {
            "scope": "jobplane",
            "name": node.name,
            "etcd3": {"hosts": [self._etcd_url]},
            "restapi": {"listen": node.api, "connect_address": node.api},
            "bootstrap": {
                "dcs": {
                    "ttl": 20,
                    "loop_wait": 1,
                    "retry_timeout": 5,
                    # A leader that was killed is not waited for.
                    "master_start_timeout": 0,
                    "primary_start_timeout": 0,
                    "synchronous_mode": True,
                    "synchronous_mode_strict": True,
                    "postgresql": {"use_pg_rewind": True, "parameters": {"max_connections": 100}},
                },
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"],
                "pg_hba": access,
            },
            "postgresql": {
                "listen": f"127.0.0.1:{node.port}",
                "connect_address": f"127.0.0.1:{node.port}",
                "data_dir": str(node.data),
                "bin_dir": str(self._bin),
                "pgpass": str(node.data.parent / "pgpass"),
                "pg_hba": access,
                "authentication": {
                    "superuser": {"username": "postgres", "password": PASSWORD},
                    "replication": {"username": "replicator", "password": PASSWORD},
                    "rewind": {"username": "rewinder", "password": PASSWORD},
                },
                "parameters": {"unix_socket_directories": str(node.data.parent)},
            },
            "watchdog": {"mode": "off"},
        }


def _give_away(path: Path) -> None:
    if (account := servers_account()) is not None:
        os.chown(path, account.pw_uid, account.pw_gid)


def _get(url: str) -> dict[str, object]:
    with urllib.request.urlopen(url, timeout=3) as answer:
        found: dict[str, object] = json.load(answer)
    return found


def _post(url: str, document: Mapping[str, object]) -> None:
    request = urllib.request.Request(url, json.dumps(document).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60):
            pass
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{url}: {error.code} {error.read().decode()}") from error
