"""The live view of `jobplane worker --watch`: what runs now, what became of the rest, and how fast."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jobplane import forking
from jobplane.cli.output import console, plain
from jobplane.events import DatabaseRecovered, JobFinished, ServiceFailed, WorkerStopping
from jobplane.failure import report_of
from jobplane.worker.worker import Worker

PER_SECOND: Final = 4
"""Pictures."""
WINDOW: Final = 5.0
"""Seconds over which the throughput is measured."""
MOST_ROWS: Final = 15
FAILING_FOR: Final = 10.0
"""Seconds for which a failure is shown."""


@contextmanager
def watching(worker: Worker) -> Iterator[None]:
    """Draw the worker until the block ends; log lines appear above the picture."""
    view, streams = _View(worker), _Streams()
    with Live(get_renderable=view.draw, console=console(), refresh_per_second=PER_SECOND) as live:
        # Live hides the cursor, and a worker that is killed could not bring it back.
        live.console.show_cursor(show=True)
        streams.restore_in_children()
        yield


class _Streams:
    """The process's streams as they were before Live took them, for children that handlers fork.

    What they print would be drawn by a thread that they do not have, over a lock that it may have held.
    """

    def __init__(self) -> None:
        self._before = (sys.stdout, sys.stderr)

    def restore_in_children(self) -> None:
        forking.renew_in_child(self._restore)

    def _restore(self) -> None:
        sys.stdout, sys.stderr = self._before


class _View:
    """Counts what the events say. Events may come from any thread, and pictures are drawn in another."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._by_queue: Counter[str] = Counter()
        self._totals: deque[tuple[float, int]] = deque([(self._started, 0)])
        self._failing: dict[str, tuple[float, str]] = {}
        self._stopping = ""
        worker.events.subscribe(JobFinished, self._job_finished)
        worker.events.subscribe(WorkerStopping, self._worker_stopping)
        worker.events.subscribe(ServiceFailed, self._service_failed)
        worker.events.subscribe(DatabaseRecovered, self._recovered)

    def _job_finished(self, event: JobFinished) -> None:
        with self._lock:
            self._outcomes[type(event.outcome).__name__.lower()] += 1
            self._by_queue[event.claim.queue] += 1

    def _worker_stopping(self, event: WorkerStopping) -> None:
        self._stopping = (
            f"stopping: running jobs have {event.grace:g} s to finish; Ctrl-C again ends them at once"
        )

    def _service_failed(self, event: ServiceFailed) -> None:
        words = report_of(event.error).message.partition("\n")[0]
        self._failing[event.service] = (time.monotonic(), words)

    def _recovered(self, event: DatabaseRecovered) -> None:
        self._failing.pop(event.service, None)

    # -- drawing -------------------------------------------------------------------------------------

    def draw(self) -> Group:
        """The picture of this moment."""
        with self._lock:
            outcomes, by_queue = dict(self._outcomes), dict(self._by_queue)
        parts: list[RenderableType] = [self._heading(outcomes), self._queues(by_queue), self._running()]
        if self._stopping:
            parts.append(Text(self._stopping, style="yellow"))
        # Not every service says that it works again; one that still fails says so within seconds.
        lately = time.monotonic() - FAILING_FOR
        parts += [
            Text.assemble(f"{service}: ", plain(words), style="red", overflow="ellipsis", no_wrap=True)
            for service, (when, words) in list(self._failing.items())
            if when > lately
        ]
        return Group(*parts)

    def _heading(self, outcomes: dict[str, int]) -> Text:
        heading = Text(no_wrap=True, overflow="ellipsis")
        heading.append(f"{self._worker.id}  ", style="bold")
        heading.append(f"{_clock(time.monotonic() - self._started)}  ")
        heading.append(f"{self._throughput(sum(outcomes.values())):.1f} jobs/s  ", style="cyan")
        for name, count in sorted(outcomes.items()):
            heading.append(f"{name} {count:,}  ", style=_STYLES.get(name, ""))
        return heading

    def _throughput(self, total: int) -> float:
        now = time.monotonic()
        self._totals.append((now, total))
        while len(self._totals) > 2 and self._totals[0][0] < now - WINDOW:
            self._totals.popleft()
        (began, before), elapsed = self._totals[0], now - self._totals[0][0]
        return (total - before) / elapsed if elapsed > 0 and began < now else 0.0

    def _queues(self, by_queue: dict[str, int]) -> Table:
        table = Table("queue", box=None, pad_edge=False)
        for heading in ("running", "of", "claimed ahead", "ended"):
            table.add_column(heading, justify="right")
        for name, slots in self._worker.slots.items():
            counts = (len(slots.running), slots.limit, len(slots.waiting), by_queue.get(name, 0))
            table.add_row(name, *(f"{count:,}" for count in counts))
        return table

    def _running(self) -> Table:
        table = Table("running job", "type", box=None, pad_edge=False)
        for heading in ("attempt", "seconds"):
            table.add_column(heading, justify="right")
        now = time.monotonic()
        # A copy of each at once: the loop's thread changes them while this one looks.
        running = [job for slots in self._worker.slots.values() for job in list(slots.running.values())]
        for job in sorted(running, key=lambda job: job.started)[:MOST_ROWS]:
            claim = job.claim
            attempt = f"{claim.attempt}/{claim.max_attempts}"
            table.add_row(str(claim.id), plain(claim.type), attempt, f"{now - job.started:.1f}")
        if len(running) > MOST_ROWS:
            table.add_row(f"and {len(running) - MOST_ROWS:,} more")
        return table


_STYLES: Final = {"completed": "green", "failed": "red", "rescheduled": "yellow", "lost": "red"}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
