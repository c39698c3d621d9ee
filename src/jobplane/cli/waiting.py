"""Waiting for a job with something to look at: shared by `enqueue --wait` and `jobs wait`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from jobplane.cli.failures import ExitCode
from jobplane.cli.output import print_json
from jobplane.cli.present import job_document, progress_of, span, when_of
from jobplane.client.queue import JobQueue
from jobplane.errors import JobNotFoundError, WaitTimeoutError
from jobplane.job import Job, JobStatus
from jobplane.observability.formatters import printable

FIRST_PAUSE: Final = 0.05
MOST_PAUSE: Final = 0.5
"""Seconds between two looks."""
WONDER_AFTER: Final = 3.0
"""Seconds that a due job may wait before it is worth asking whether anyone can run it."""


async def wait_for(queue: JobQueue, job_id: UUID, timeout: float | None, *, quiet: bool = False) -> Job:
    """Look at a job until it has ended, and draw its progress on stderr if that is a terminal.

    Raises:
        WaitTimeoutError: it had not ended within `timeout` seconds; it goes on.
        JobNotFoundError: there is no such job, or it was deleted meanwhile.
    """
    started, pause, asked = time.monotonic(), FIRST_PAUSE, False
    with _picture(quiet=quiet) as picture:
        while True:
            job = await queue.get_job(job_id)
            if job is None:
                raise JobNotFoundError(f"there is no job {job_id} (it may have been pruned)")
            picture.show(job)
            if job.is_terminal:
                return job
            waited = time.monotonic() - started
            if timeout is not None and waited >= timeout:
                raise WaitTimeoutError(f"job {job_id} is still {job.status} after {timeout:g} s; it goes on")
            if not asked and job.status is JobStatus.PENDING and waited > WONDER_AFTER and _is_due(job):
                asked = True
                picture.remark(await _doubt(queue, job))
            left = pause if timeout is None else min(pause, max(timeout - waited, 0.0))
            await asyncio.sleep(left)
            pause = min(pause * 1.3, MOST_PAUSE)


def conclude(job: Job, *, as_json: bool) -> None:
    """Say how a job ended, and end with the exit code that fits."""
    if as_json:
        print_json(job_document(job))
    else:
        took = (
            ""
            if job.started_at is None or job.completed_at is None
            else f" after {span(job.completed_at - job.started_at)}"
        )
        words = f"{job.id} {job.status}{took}, attempt {job.attempts} of {job.max_attempts}"
        typer.echo(words if job.last_error is None else f"{words}: {printable(job.last_error)}")
    if job.status is not JobStatus.COMPLETED:
        raise typer.Exit(ExitCode.REFUSED)


def _is_due(job: Job) -> bool:
    return job.scheduled_at <= datetime.now(UTC)


async def _doubt(queue: JobQueue, job: Job) -> str:
    for found in await queue.list_unclaimable():
        if (found.queue, found.type) == (job.queue, job.type):
            return f"no living worker serves queue {job.queue} and knows type {job.type}: start one"
    paused = [info.name for info in await queue.list_queues() if info.paused_at is not None]
    return f"queue {job.queue} is paused: jobplane queues resume {job.queue}" if job.queue in paused else ""


class _Picture:
    """One progress bar; draws nothing where nobody looks."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.fields[status]}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}", markup=False),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
        )
        self._bar = self._progress.add_task("", total=None, status="", words="")
        self._remark = ""
        self._quiet = quiet

    def show(self, job: Job) -> None:
        """Draw the job as it is."""
        fraction, message = progress_of(job.progress)
        words = printable(message) if job.status is JobStatus.RUNNING else self._remark
        if job.status is JobStatus.PENDING and job.scheduled_at > datetime.now(UTC):
            words = f"{when_of(job)} {printable(job.last_error or '')}"
        self._progress.update(
            self._bar,
            total=None if fraction is None else 1.0,
            completed=fraction or 0.0,
            status=f"{job.status}" + (f" {job.attempts}/{job.max_attempts}" if job.attempts > 1 else ""),
            words=words,
        )

    def remark(self, words: str) -> None:
        """Say why nothing happens."""
        self._remark = words
        if words and not self._quiet and self._progress.disable:
            self._console.print(Text(words))

    def start(self) -> None:
        """Begin to draw."""
        self._progress.start()

    def stop(self) -> None:
        """Take the bar away."""
        self._progress.stop()


@contextmanager
def _picture(*, quiet: bool) -> Iterator[_Picture]:
    picture = _Picture(Console(stderr=True, highlight=False), quiet=quiet)
    picture.start()
    try:
        yield picture
    finally:
        picture.stop()
