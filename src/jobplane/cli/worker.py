"""`jobplane worker`: run jobs until told to stop."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import logging
import math
import os
import random
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Final

import typer

from jobplane.cli.failures import ExitCode, expected_errors, run_async
from jobplane.cli.options import DatabaseURL, Schema, given, worker_option
from jobplane.cli.targets import load_targets
from jobplane.cli.watch import watching
from jobplane.errors import ConfigurationError, DatabaseUnavailableError, SchemaError
from jobplane.observability.formatters import JSONFormatter, TextFormatter
from jobplane.observability.logging import JobIdFilter, LogSubscriber, logger
from jobplane.settings import DatabaseSettings, WorkerSettings, resolve
from jobplane.store.failures import Reaction, reaction_to
from jobplane.store.fit import Fit, fit_of
from jobplane.store.migrator import migrations
from jobplane.worker.signals import stop_on_signals
from jobplane.worker.worker import Worker

LOOK_AGAIN: Final = 2.0
"""Seconds between tries while the database is away at the start, on average."""
SAY_AGAIN: Final = 30.0
"""Seconds between two lines that say so."""


class LogFormat(StrEnum):
    """How log lines look."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least level that is written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def worker(  # noqa: PLR0913 - each setting is an option
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="MODULE[:OBJECT]",
            help="A module with tasks, or a JobQueue or Registry in it (or a function that returns one).",
            show_default=False,
        ),
    ],
    *,
    queues: Annotated[str | None, worker_option("queues")] = None,
    poll_interval: Annotated[str | None, worker_option("poll_interval")] = None,
    heartbeat_interval: Annotated[str | None, worker_option("heartbeat_interval")] = None,
    lease: Annotated[str | None, worker_option("lease")] = None,
    sweep_interval: Annotated[str | None, worker_option("sweep_interval")] = None,
    grace: Annotated[str | None, worker_option("grace")] = None,
    timeout: Annotated[str | None, worker_option("timeout")] = None,
    crash_limit: Annotated[str | None, worker_option("crash_limit")] = None,
    threads: Annotated[str | None, worker_option("threads")] = None,
    prefetch: Annotated[str | None, worker_option("prefetch")] = None,
    keep_completed: Annotated[str | None, worker_option("keep_completed")] = None,
    keep_failed: Annotated[str | None, worker_option("keep_failed")] = None,
    keep_cancelled: Annotated[str | None, worker_option("keep_cancelled")] = None,
    keep_history: Annotated[str | None, worker_option("keep_history")] = None,
    log_format: Annotated[LogFormat, typer.Option(help="How log lines look, on stderr.")] = LogFormat.TEXT,
    log_level: Annotated[LogLevel, typer.Option(help="One line for each job at info.")] = LogLevel.INFO,
    watch: Annotated[
        bool, typer.Option("--watch", help="A live view of this worker instead of info lines.")
    ] = False,
    database_url: DatabaseURL = None,
    schema: Schema = None,
) -> None:
    """Run jobs until SIGTERM or Ctrl-C, then stop in order: running jobs get --grace seconds.

    Starts while the database is away, and keeps trying; refuses to start when the tables are missing, or when the
    database says that this version is too old for it. Settings that are not given come from their environment variables.
    """
    explicit = given(
        queues=queues,
        poll_interval=poll_interval,
        heartbeat_interval=heartbeat_interval,
        lease=lease,
        sweep_interval=sweep_interval,
        grace=grace,
        timeout=timeout,
        crash_limit=crash_limit,
        threads=threads,
        prefetch=prefetch,
        keep_completed=keep_completed,
        keep_failed=keep_failed,
        keep_cancelled=keep_cancelled,
        keep_history=keep_history,
    )
    with expected_errors():
        settings = resolve(WorkerSettings, os.environ, **explicit).settings
        if watch and not sys.stdout.isatty():
            raise ConfigurationError("--watch draws on a terminal, and stdout is none: leave it out")
        _set_up_logging(log_format, LogLevel.WARNING if watch and log_level is LogLevel.INFO else log_level)
        found = load_targets(targets)
        database = found.database(database_url, schema)
        run_async(_work(Worker(found.registry, database=database, settings=settings), watch=watch), _runner)


async def _work(worker: Worker, *, watch: bool) -> None:
    if not await _ready(worker.database_settings):
        return
    LogSubscriber(worker.events)
    with watching(worker) if watch else nullcontext():
        await worker.run()
    if worker.running_jobs():
        # Handlers that ignore their cancellation: the loop would wait for them, and they end with the process.
        logging.shutdown()
        os._exit(ExitCode.DONE)


async def _ready(settings: DatabaseSettings) -> bool:
    """Wait for the database, however long; false when a signal came first. Raises SchemaError, MigrationError."""
    stopped = asyncio.Event()
    with stop_on_signals(stopped.set):
        checking = asyncio.ensure_future(_check_schema(settings))
        stopping = asyncio.ensure_future(stopped.wait())
        await asyncio.wait((checking, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not checking.done():
            checking.cancel()
            await asyncio.gather(checking, return_exceptions=True)
            return False
        stopping.cancel()
        checking.result()
        return True


async def _check_schema(settings: DatabaseSettings) -> None:
    fit = await _fit_of(settings)
    if fit.missing:
        raise SchemaError(
            f"the schema {settings.schema} lacks {len(fit.missing)} of {len(migrations())} migrations, beginning with "
            f"{fit.missing[0]}: run jobplane migrate up"
        )
    if fit.newer:
        logger.warning(
            "the schema %s is newer than the code: it has %s, and says that this code may run on it",
            settings.schema,
            ", ".join(fit.newer),
        )


async def _fit_of(settings: DatabaseSettings) -> Fit:
    settings = replace(settings, patience=timedelta(0))
    said = -math.inf
    while True:
        try:
            return await fit_of(settings)
        except DatabaseUnavailableError as error:
            # A wrong password or database name will not mend itself.
            if error.__cause__ is None or reaction_to(error.__cause__) is Reaction.FATAL:
                raise
            if time.monotonic() - said >= SAY_AGAIN:
                said = time.monotonic()
                logger.warning("waiting for the database: %s", str(error).partition("\n")[0])
        await asyncio.sleep(random.uniform(0.5, 1.5) * LOOK_AGAIN)  # noqa: S311 - spread, not secrecy


def _runner() -> asyncio.Runner:
    # The quicker event loop, where the extra jobplane[uvloop] is installed.
    if importlib.util.find_spec("uvloop") is None:
        return asyncio.Runner()
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
    return asyncio.Runner(loop_factory=new_event_loop)


def _set_up_logging(form: LogFormat, level: LogLevel) -> None:
    handler = _StandardError()
    handler.setFormatter(JSONFormatter() if form is LogFormat.JSON else TextFormatter())
    handler.addFilter(JobIdFilter())
    logging.basicConfig(level=level.value.upper(), handlers=[handler], force=True)


class _StandardError(logging.Handler):
    """Writes to what sys.stderr is at the moment: the live view replaces it, to keep lines above the picture."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - logging's own way to say that a line could not be written
            self.handleError(record)
