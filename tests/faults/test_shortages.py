"""The server runs out of connections (F11), of disk (F10): no false acknowledgement, no worker that gives up (I1)."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from jobplane import DatabaseError, DatabaseSettings, DatabaseUnavailableError, JobQueue
from jobplane.embedded import EmbeddedServer
from jobplane.errors import EmbeddedServerError
from jobplane.store.migrator import Migrator
from tests.faults.clients import JournallingClient, jobs_of
from tests.faults.clusters import test_programs
from tests.faults.programs import need_root, only_in_long_profile
from tests.faults.run import SLOTS, FaultRun
from tests.support import until

StartRun = Callable[[str, str], FaultRun]
CONNECTIONS: Final = 20
PATIENCE: Final = 1.0
"""Seconds that these clients wait before they give up a call."""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that the server's account can enter."""
    with tempfile.TemporaryDirectory(prefix="jobplane-short-", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o755)
        yield Path(made)


async def test_f11_a_hog_takes_every_connection(folder: Path, start_run: StartRun) -> None:
    """Of a server with 20 connections: what workers hold they keep, heartbeats first of all."""
    settings = {"max_connections": str(CONNECTIONS), "superuser_reserved_connections": "0"}
    with EmbeddedServer(folder / "data", bin_dir=test_programs(), settings=settings) as server:
        await Migrator(DatabaseSettings(url=server.url())).up()
        async with start_run("f11_a_hog_takes_every_connection", server.url()) as run:
            for _ in range(2):
                run.spawn()
            await run.ready()
            # Longer than a lease: without heartbeats they would be taken back.
            await run.client.enqueue_many(jobs_of("work", [{"seconds": 6.0}] * SLOTS, max_attempts=20))
            await run.started(SLOTS)
            refused = 0
            async with _hog(server.url()) as taken:
                impatient = DatabaseSettings(url=server.url(), patience=timedelta(seconds=PATIENCE))
                async with JobQueue(settings=impatient) as queue:
                    client = JournallingClient(queue, run.journal)
                    end = time.monotonic() + (30 if run.long else 5)
                    while time.monotonic() < end:
                        with pytest.raises(DatabaseUnavailableError):
                            await client.enqueue("work", {}, key=f"refused {refused}")
                        refused += 1
                connections = len(taken)
            released = time.monotonic()
            made = await run.client.enqueue_surely("work", {}, key="after the release")
            await run.queue.wait(made.id, 10)
            resumed = time.monotonic() - released
            await run.settle()

            figures = await run.verdict(hogged=connections, refused=refused, resumed_after=f"{resumed:.2f} s")
    assert refused >= 2
    assert figures.extra_executions == 0
    assert figures.completions == SLOTS + 1
    assert resumed <= 2.0


async def test_f10_the_data_directory_is_full(folder: Path, start_run: StartRun) -> None:
    with _tmpfs(folder, 192):
        server = _small_server(folder / "data")
        try:
            server.start()
            await Migrator(DatabaseSettings(url=server.url())).up()
            async with start_run("f10_the_data_directory_is_full", server.url()) as run:
                await _fill_and_free(run, server, folder, rounds=4 if run.long else 2)
        finally:
            server.stop()


async def test_f10_the_write_ahead_log_is_full(folder: Path, start_run: StartRun) -> None:
    """The server itself gives up then (PANIC), and recovers once there is room."""
    only_in_long_profile()
    log = folder / "log"
    log.mkdir()
    with _tmpfs(log, 48):
        server = _small_server(folder / "data")
        try:
            server.start()
            server.stop()
            _move_log(folder / "data", log / "pg_wal")
            server.start()
            await Migrator(DatabaseSettings(url=server.url())).up()
            async with start_run("f10_the_write_ahead_log_is_full", server.url()) as run:
                await _fill_and_free(run, server, log, rounds=2)
        finally:
            server.stop()


async def _fill_and_free(run: FaultRun, server: EmbeddedServer, where: Path, rounds: int) -> None:
    for _ in range(2):
        run.spawn()
    await run.ready()
    settings = DatabaseSettings(url=run.url, patience=timedelta(seconds=PATIENCE))
    refused, restarts, acknowledged = 0, 0, 0
    async with JobQueue(settings=settings) as queue:
        client = JournallingClient(queue, run.journal)
        for number in range(rounds):
            for made in range(20):
                await client.enqueue("work", {"seconds": 0.01}, key=f"{number} before {made}")
            ballast = await asyncio.to_thread(_fill, where)
            errors = 0
            while errors < 2:
                try:
                    # A payload that needs pages of its own, so that the end comes soon.
                    await client.enqueue(
                        "work",
                        {"seconds": 0.01, "ballast": os.urandom(20_000).hex()},
                        key=f"{number} {acknowledged}",
                    )
                    acknowledged += 1
                    await asyncio.to_thread(_top_up, ballast)
                except DatabaseError as error:
                    assert isinstance(error, DatabaseUnavailableError), error  # noqa: PT017 - each kind is caught
                    errors += 1
            refused += errors
            ballast.unlink()
            restarts += await asyncio.to_thread(_start_if_down, server)
            key = f"{number} after"
            after = await run.client.enqueue_surely("work", {"seconds": 0.01}, key=key)
            await run.queue.wait(after.id, 30)
    await run.settle(30)

    figures = await run.verdict(refused=refused, restarts=restarts)
    assert refused >= 2 * rounds
    assert figures.completions >= figures.acknowledged
    assert figures.extra_executions <= rounds * 2 * SLOTS


def _small_server(data: Path) -> EmbeddedServer:
    settings = {
        "shared_buffers": "16MB",
        "min_wal_size": "32MB",
        "max_wal_size": "32MB",
        "wal_recycle": "off",
        "log_checkpoints": "off",
    }
    return EmbeddedServer(data, bin_dir=test_programs(), settings=settings)


def _fill(where: Path) -> Path:
    """Take all the room there is with a file, which is the fault."""
    ballast = where / "ballast"
    ballast.touch()
    _top_up(ballast)
    return ballast


def _top_up(ballast: Path) -> None:
    with ballast.open("ab") as file, suppress(OSError):
        while True:
            file.write(b"\0" * 65536)
            file.flush()


def _start_if_down(server: EmbeddedServer) -> int:
    """Start the server if a PANIC ended it, as a supervisor would; whether it was down."""
    end = time.monotonic() + 30
    down = 0
    while time.monotonic() < end:
        try:
            server.postmaster_pid  # noqa: B018 - raises when there is none
        except EmbeddedServerError:
            down = 1
            with suppress(EmbeddedServerError):
                server.start()
                return 1
        else:
            return down
    raise AssertionError("the server does not come back")


@asynccontextmanager
async def _hog(url: str) -> AsyncIterator[list[asyncpg.Connection[asyncpg.Record]]]:
    """Takes every connection that is free, and each that becomes free."""
    taken: list[asyncpg.Connection[asyncpg.Record]] = []

    async def take() -> None:
        while True:
            try:
                taken.append(await asyncpg.connect(url))
            except asyncpg.PostgresError:
                await asyncio.sleep(0.02)

    async def has_taken() -> bool:
        before = len(taken)
        await asyncio.sleep(0.3)
        return len(taken) == before and before > 0

    task = asyncio.create_task(take())
    await until(has_taken)
    try:
        yield taken
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        for connection in taken:
            connection.terminate()


@contextmanager
def _tmpfs(folder: Path, megabytes: int) -> Iterator[None]:
    """A small file system in memory, mounted while the block runs."""
    need_root("mount a small file system")
    size = f"size={megabytes}m,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _move_log(data: Path, place: Path) -> None:
    owner = data.stat()
    shutil.copytree(data / "pg_wal", place)
    shutil.rmtree(data / "pg_wal")
    for path in (place, *place.rglob("*")):
        os.chown(path, owner.st_uid, owner.st_gid)
    (data / "pg_wal").symlink_to(place)
