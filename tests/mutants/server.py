"""One server for all mutants, and which statements it accepts. A process of its own: it imports the product."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

import asyncpg

from jobplane import DatabaseSettings
from jobplane.embedded import EmbeddedServer
from jobplane.sql import parse
from jobplane.store.migrator import Migrator
from tests.support import scratch_base


async def judge(url: str) -> None:
    """Answer each statement on standard input: whether PostgreSQL accepts it."""
    await Migrator(DatabaseSettings(url=url)).up()
    connection = await asyncpg.connect(url)
    for line in iter(sys.stdin.readline, ""):
        name, text = json.loads(line)
        try:
            await connection.prepare(parse(name, text, "control_plane").numbered)
        except asyncpg.PostgresError:
            print("refused", flush=True)
        else:
            print("accepted", flush=True)
    await connection.close()


with tempfile.TemporaryDirectory(dir=scratch_base()) as folder:
    Path(folder).chmod(0o755)
    settings = {"max_connections": "300", "deadlock_timeout": "200ms"}
    with EmbeddedServer(Path(folder) / "data", fsync=False, settings=settings) as server:
        print(server.url(), flush=True)
        asyncio.run(judge(server.url()))
