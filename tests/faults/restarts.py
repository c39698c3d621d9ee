"""A server that may be restarted, and the ways to do it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobplane import DatabaseSettings
from jobplane.embedded import EmbeddedServer
from jobplane.embedded.postmaster import is_server, until
from jobplane.store.migrator import Migrator

WAYS: Final = ("immediate", "kill", "fast")
"""As after a crash; kill -9 of the postmaster; in order."""


@contextmanager
def mortal_server() -> Iterator[EmbeddedServer]:
    """A server of one's own with fsync on."""
    bin_dir = os.environ.get("JOBPLANE_TEST_BIN_DIR")
    with tempfile.TemporaryDirectory(prefix="jobplane-mortal-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data", bin_dir=Path(bin_dir) if bin_dir else None) as server:
            yield server


async def migrate(url: str) -> None:
    """The tables."""
    await Migrator(DatabaseSettings(url=url)).up()


def restart(server: EmbeddedServer, way: str) -> None:
    """One of WAYS; returns when it is ready again."""
    if way == "immediate":
        server.restart("immediate")
    elif way == "fast":
        server.restart("fast")
    else:
        pid = server.postmaster_pid
        os.kill(pid, signal.SIGKILL)
        gone = until(lambda: not is_server(pid, server.data_dir))
        assert gone, "the postmaster outlived its kill"
        server.start()
