"""Command lines against the test's databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.commands import Background, CommandLine


@pytest.fixture
def cli(database_url: str, tmp_path: Path) -> CommandLine:
    """`jobplane` on a migrated database, in an empty folder."""
    return CommandLine(database_url, tmp_path)


@pytest.fixture
def bare_cli(empty_database_url: str, tmp_path: Path) -> CommandLine:
    """`jobplane` on a database in which nothing was migrated."""
    return CommandLine(empty_database_url, tmp_path)


@pytest.fixture
def start_worker(cli: CommandLine) -> Iterator[Callable[..., Background]]:
    """Starts `jobplane worker ...`; those still alive are killed at the end."""
    started: list[Background] = []

    def start(*args: str, **variables: str) -> Background:
        started.append(cli.worker(*args, **variables))
        return started[-1]

    yield start
    for background in started:
        background.end()


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    """A user's module of tasks, in the folder where commands run."""
    module = tmp_path / "shop.py"
    module.write_text(
        """
import asyncio
from datetime import timedelta

from jobplane import Fixed, JobContext, JobQueue, Registry

queue = JobQueue()
empty = Registry()
number = 7


@queue.task
async def greet(ctx: JobContext, name: str = "you") -> str:
    ctx.progress(0.5, "half way")
    ctx.logger.info("greeting %s", name)
    return f"hello {name}"


@queue.task
async def fail(secret: str = "") -> None:
    raise ValueError(f"no: {secret}")


@queue.task(queue="tills", max_attempts=1, priority=4)
async def charge(amount: int) -> None: ...


def make() -> JobQueue:
    return queue


def make_with(argument: str) -> JobQueue:
    return queue
""",
        encoding="utf-8",
    )
    return module
