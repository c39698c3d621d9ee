"""The server of a benchmark: embedded, everything durable, and thrown away afterwards."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobplane.embedded import EmbeddedServer

SETTINGS: Final[Mapping[str, str]] = {
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "max_connections": "100",
}
"""Beside these, PostgreSQL's defaults: fsync, synchronous_commit and full_page_writes are on."""


@contextmanager
def bench_server() -> Iterator[EmbeddedServer]:
    """A fresh server in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="jobplane-bench-", ignore_cleanup_errors=True) as folder:
        # The account that runs the server must be able to reach its data.
        Path(folder).chmod(0o755)
        with EmbeddedServer(Path(folder) / "data", settings=SETTINGS) as server:
            yield server


def database_name() -> str:
    """A name for the database of one run."""
    return f"bench_{uuid.uuid4().hex[:12]}"
