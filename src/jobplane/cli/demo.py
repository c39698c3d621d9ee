"""`jobplane demo`: provision projects for real, watch it, prove it, and leave nothing behind."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer

from jobplane.cli.demo_ground import SIGNALS, Ground, server_for
from jobplane.cli.demo_projects import example_folder, read_projects
from jobplane.cli.demo_run import Interruption, Plan, run_demo
from jobplane.cli.failures import expected_errors
from jobplane.cli.output import console, plain


def demo(
    *,
    projects: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The projects, as JSON; default: those of examples/control_plane.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=16, help="Jobs at once in each.")] = 4,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what was made, and leave the embedded server running.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Do nothing but remove what earlier demos kept or left.")
    ] = False,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Use an embedded server with its data there, whatever DATABASE_URL says.",
            show_default=False,
        ),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Use this server; default: DATABASE_URL, else AUDIT_LOGS_DB_HOST and its siblings, else an "
            "embedded one.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Provision projects as jobs on a real server: watch them run, see it proven, and leave nothing behind.

    Runs on the server that the options or the environment name, else on an embedded one. Ctrl-C is safe at any
    moment; `kill -9` of a worker is worth trying.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names are in every script of the world
    began = time.monotonic()
    out = console()
    with expected_errors(), _signals_unwind():
        folder = example_folder()
        wanted = read_projects(projects or folder / "projects.json")
        with server_for(os.environ, database_url, data_dir, lambda words: out.print(plain(words))) as server:
            if remove:
                swept = asyncio.run(_remove(Ground(server)))
                out.print(f"removed what earlier demos kept or left: {swept} projects")
                return
            plan = Plan(wanted, folder, keep=keep, workers=workers, concurrency=concurrency)
            code = asyncio.run(run_demo(plan, Ground(server), out, began))
    raise typer.Exit(code)


async def _remove(ground: Ground) -> int:
    with Interruption() as interruption:
        async with ground.claimed():
            await ground.orphans_gone()
            interruption.hold()
            return await ground.sweep()
    raise AssertionError("unreachable: an interruption ends the process with its code")


@contextmanager
def _signals_unwind() -> Iterator[None]:
    """Signals unwind the stack, as Ctrl-C does by itself, instead of ending the process where it stands."""

    def unwind(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, unwind) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
