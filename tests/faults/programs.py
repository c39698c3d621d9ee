"""Programs of the system that some scenarios need: installed where that is possible, else a skip that says how."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Program:
    """A program, or a library, and the Debian package that brings it."""

    name: str
    package: str

    @property
    def path(self) -> str | None:
        """Where it is; None where it is not."""
        if self.name.startswith("/"):
            return next((str(path) for path in Path("/").glob(self.name[1:])), None)
        # Debian keeps some of these where only root looks.
        return shutil.which(self.name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


PGBOUNCER = Program("pgbouncer", "pgbouncer")
LIBFAKETIME = Program("/usr/lib/*/faketime/libfaketime.so.1", "libfaketime")
ETCD = Program("etcd", "etcd-server")
PATRONI = Program("patroni", "patroni")
NFT = Program("nft", "nftables")
IP = Program("ip", "iproute2")


@cache
def need(program: Program) -> str:
    """The path of a program; installs its package where we are root on Debian, else skips, loudly."""
    if (found := program.path) is not None:
        return found
    how = f"apt-get install {program.package}"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        done = subprocess.run(
            ["apt-get", "install", "-y", "-qq", "--no-install-recommends", program.package],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            check=False,
            capture_output=True,
            text=True,
        )
        if (found := program.path) is not None:
            return found
        pytest.skip(f"NOT TESTED: {program.name} is missing, and {how} failed: {done.stderr.strip()[-300:]}")
    pytest.skip(f"NOT TESTED: {program.name} is missing; get it with: {how}")


def need_root(what: str) -> None:
    """Skip, loudly, where we are not root."""
    if os.geteuid() != 0:
        pytest.skip(f"NOT TESTED: only root can {what}; run this test as root")


def only_in_long_profile() -> None:
    """Skip in the short profile, saying so."""
    if os.environ.get("JOBPLANE_FAULTS_PROFILE", "short") != "long":
        pytest.skip("for the long profile: JOBPLANE_FAULTS_PROFILE=long, or make faults-long")


def servers_account() -> pwd.struct_passwd | None:
    """Whom servers that refuse to be root run as; None for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
