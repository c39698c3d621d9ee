"""What the demo shows while it runs: a live table on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobplane.cli.demo_projects import Project
from jobplane.job import Job, JobStatus
from jobplane.observability.formatters import printable


class State(StrEnum):
    """How a project stands. In the order in which they are shown where not all fit."""

    RUNNING = "running"
    RETRYING = "retrying"
    FAILED = "failed"
    WAITING = "waiting"
    FAILED_AS_EXPECTED = "failed as expected"
    DONE = "done"


STYLES: Final[Mapping[State, str]] = {
    State.RUNNING: "cyan",
    State.RETRYING: "yellow",
    State.FAILED: "bold red",
    State.WAITING: "dim",
    State.FAILED_AS_EXPECTED: "magenta",
    State.DONE: "green",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One project, as shown."""

    slug: str
    name: str
    state: State
    attempts: str
    fraction: float
    message: str
    again: str = ""
    """When it will be tried again, in words."""


class View(Protocol):
    """Shows rows as they change. To be used as a context."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, rows: Sequence[Row]) -> None:
        """The state of all projects, now."""

    def note(self, text: str) -> None:
        """Something else that happened."""


def view_for(console: Console, title: str) -> View:
    """The view that fits where the output goes."""
    return LiveView(console, title) if console.is_terminal else LineView(console)


class LiveView:
    """A table that is drawn again and again, in as many lines as the terminal has."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._began = time.monotonic()
        self._live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def show(self, rows: Sequence[Row]) -> None:
        counts = Counter(row.state for row in rows)
        told = " · ".join(f"{counts[state]} {state}" for state in State if counts[state])
        header = Text(f"{self._title} · {time.monotonic() - self._began:4.1f} s · {told}", style="bold")
        self._live.update(Group(header, self._table(rows)), refresh=True)

    def note(self, text: str) -> None:
        self._console.print(Text(text))

    def _table(self, rows: Sequence[Row]) -> Table:
        table = Table(box=None, padding=(0, 1), expand=True)
        for name, ratio in (("project", 3), ("name", 3)):
            table.add_column(name, ratio=ratio, no_wrap=True, overflow="ellipsis")
        for name in ("status", "try"):
            table.add_column(name, no_wrap=True)
        table.add_column("progress", width=12)
        table.add_column("last step", ratio=7, no_wrap=True, overflow="ellipsis")
        room = max(self._console.height - 4, 1)
        for row in fitting(rows, room):
            style = STYLES[row.state]
            table.add_row(
                row.slug,
                Text(row.name),
                Text(row.state, style=style),
                row.attempts,
                ProgressBar(total=1.0, completed=row.fraction, width=12, complete_style=style),
                Text(f"{row.again}{row.message}", style=style),
            )
        if len(rows) > room:
            table.add_row(Text(f"and {len(rows) - room} more", style="dim"))
        return table


class LineView:
    """Plain lines, one for each change: for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._told: dict[str, tuple[State, str, str]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def show(self, rows: Sequence[Row]) -> None:
        for row in rows:
            news = (row.state, row.attempts, row.message)
            if news != self._told.get(row.slug, (State.WAITING, "", "")):
                self._told[row.slug] = news
                self.note(f"{row.slug:20} {row.state:9} {row.attempts:4} {row.fraction:4.0%}  {row.message}")

    def note(self, text: str) -> None:
        elapsed = time.monotonic() - self._began
        self._console.print(Text(f"{elapsed:6.2f} s  {text}"), soft_wrap=True)


def rows_of(projects: Sequence[Project], jobs: Mapping[str, Job]) -> list[Row]:
    """What to show of each project, whose job is found by its unique key."""
    return [_row_of(project, jobs.get(project.unique_key)) for project in projects]


def fitting(rows: Sequence[Row], room: int) -> Sequence[Row]:
    """The rows that matter most, where there is no room for all."""
    if len(rows) <= room:
        return rows
    order = list(State)
    return sorted(rows, key=lambda row: order.index(row.state))[:room]


def _row_of(project: Project, job: Job | None) -> Row:
    state = _state_of(project, job)
    fraction, message = _progress_of(job)
    again, attempts = "", ""
    if job is not None:
        attempts = f"{job.attempts}/{job.max_attempts}" if job.attempts else ""
        if state is State.RUNNING and not message:
            message = "started"
        if state in (State.RETRYING, State.FAILED, State.FAILED_AS_EXPECTED):
            message = job.last_error or ""
        if state is State.RETRYING:
            again = f"again in {max((job.scheduled_at - datetime.now(UTC)).total_seconds(), 0.0):.1f} s: "
    return Row(
        slug=printable(project.slug),
        name=printable(project.name),
        state=state,
        attempts=attempts,
        fraction=fraction,
        message=printable(message),
        again=again,
    )


def _state_of(project: Project, job: Job | None) -> State:
    if job is None:
        return State.WAITING
    match job.status:
        case JobStatus.PENDING:
            return State.RETRYING if job.attempts else State.WAITING
        case JobStatus.RUNNING:
            return State.RUNNING
        case JobStatus.COMPLETED:
            return State.DONE
        case _:
            return State.FAILED_AS_EXPECTED if project.expect == "failure" else State.FAILED


def _progress_of(job: Job | None) -> tuple[float, str]:
    match None if job is None else job.progress:
        case {"fraction": float() | int() as fraction, "message": str() as message}:
            return float(fraction), message
        case _:
            return 0.0, ""
