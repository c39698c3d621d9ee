"""`jobplane demo`: provision projects for real, watch it, prove it, and leave nothing behind."""

from __future__ import annotations

import asyncio
import io
import os
import secrets
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from jobplane.cli.demo_ground import OWNER, RUN_PREFIX, TAG, Ground, Server, server_for
from jobplane.cli.demo_projects import HANDLERS, Project, example_folder, read_projects
from jobplane.cli.demo_proof import prove
from jobplane.cli.demo_view import State, View, rows_of, view_for
from jobplane.cli.demo_worker import WorkerProcesses
from jobplane.client.queue import JobQueue
from jobplane.errors import JobplaneError
from jobplane.job import Job, JobStatus, JobType
from jobplane.retry import Fixed
from jobplane.store.failures import sqlstate_of, translated
from jobplane.store.migrator import Migrator

RETRY: Final = Fixed(timedelta(seconds=1))
"""The example retries after five minutes; nobody would watch that."""
LOOK: Final = 0.1
"""Seconds between two looks at the jobs."""
STANDSTILL: Final = 60.0
"""Seconds without any change after which something must be wrong."""


class StandstillError(JobplaneError):
    """Nothing moves."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was asked for."""

    projects: Sequence[Project]
    folder: Path
    keep: bool
    workers: int
    concurrency: int


def demo(  # noqa: PLR0913 - each is an option of the command line
    *,
    projects: Annotated[
        Path | None,
        typer.Option(help="The projects to provision, as JSON. Default: the example's own.", dir_okay=False),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep what was made, and the embedded server running.")
    ] = False,
    remove: Annotated[
        bool, typer.Option("--remove", help="Only remove what earlier demos kept or left.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=16, help="Worker processes.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, max=16, help="Jobs at once in each worker.")] = 4,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="The data folder of the embedded server, also where DATABASE_URL is set."),
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            help="The server to use. Other users can see it in the process list: DATABASE_URL they cannot."
        ),
    ] = None,
) -> None:
    """Provision projects as jobs on a real server: watch them run, see it proven, and leave nothing behind.

    Uses the server that the options or the environment name, else an embedded one of its own. Ctrl-C is safe at any moment.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # the names are in every script of the world
    console = Console(highlight=False)
    try:
        code = _demo(
            console, projects, database_url, data_dir, keep, remove, workers, concurrency)
    except KeyboardInterrupt:
        console.print("interrupted", markup=False)
        code = 128 + signal.SIGINT
    except Exception as error:
        raise
    raise typer.Exit(code)
