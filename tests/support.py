"""What tests share: URLs, waiting for states, real worker processes, and the journal that their handlers keep."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit, urlunsplit

from jobplane.events import Event, Events

SLACK: Final = 5.0
"""How many times as long as promised something may take in a test: other programs may keep all cores busy meanwhile
(`make test-busy`). Wherever a test bounds a time from above, the bound is the promise's own, times this."""
LONG: Final = os.environ.get("JOBPLANE_FAULTS_PROFILE") == "long"
"""Many times as many examples, and longer runs: nightly, or by hand."""
T = TypeVar("T")
E = TypeVar("E", bound=Event)


def on_database(url: str, name: str) -> str:
    """The same server's URL for another database."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def scratch_base() -> str:
    """Where to put throw-away clusters: in memory where there is room, since each test clones a database."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 2 * 1024**3
    return str(memory) if roomy and os.access(memory, os.W_OK) else tempfile.gettempdir()


async def until(check: Callable[[], Awaitable[T | None]], timeout: float = 20.0) -> T:
    """Ask until the answer is true, at most `timeout` seconds; the last answer is in the failure."""
    end = time.monotonic() + timeout
    while True:
        answer = await check()
        if answer:
            return answer
        assert time.monotonic() < end, f"still {answer!r} after {timeout} s"
        await asyncio.sleep(0.02)


class Recorder:
    """Collects the events of a worker, to be waited for."""

    def __init__(self, events: Events, *kinds: type[Event]) -> None:
        self.seen: list[Event] = []
        self._changed = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        for kind in kinds:
            events.subscribe(kind, self._take)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class, in order."""
        return [event for event in self.seen if isinstance(event, kind)]

    async def wait_for(self, kind: type[E], count: int = 1, timeout: float = 20.0) -> list[E]:
        """Wait until so many of a class were seen."""
        end = time.monotonic() + timeout
        while len(found := self.of(kind)) < count:
            self._changed.clear()
            left = end - time.monotonic()
            assert left > 0, f"{len(found)} of {count} {kind.__name__} after {timeout} s; seen: {self.seen}"
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue
        return found

    def _take(self, event: Event) -> None:
        self.seen.append(event)
        self._loop.call_soon_threadsafe(self._changed.set)


class Journal:
    """Lines of JSON in a file, appended by any number of processes: what handlers did, whatever the database says."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, **entry: object) -> None:
        """Append one entry; a line is written at once or not at all."""
        line = json.dumps({"at": time.time(), "pid": os.getpid(), **entry}, default=str) + "\n"
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def entries(self, event: str | None = None) -> list[dict[str, object]]:
        """All entries, or those of one kind."""
        if not self.path.exists():
            return []
        found = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [entry for entry in found if event is None or entry["event"] == event]


class WorkerProcess:
    """`jobplane worker tests.handlers` as a process of its own, in the test profile.

    `prefix` comes before it on the command line (a tool that starts it under other conditions), and `module` is what
    Python runs.
    """

    def __init__(
        self,
        database_url: str,
        journal: Journal,
        environment: Mapping[str, str],
        targets: str = "tests.handlers",
        *,
        module: str = "jobplane",
        prefix: Sequence[str] = (),
    ) -> None:
        profile = {
            "DATABASE_URL": database_url,
            "JOBPLANE_TEST_JOURNAL": str(journal.path),
            "JOBPLANE_HEARTBEAT_INTERVAL": "0.4",
            "JOBPLANE_LEASE": "2",
            "JOBPLANE_SWEEP_INTERVAL": "0.5",
            "JOBPLANE_POLL_INTERVAL": "0.2",
            "JOBPLANE_QUEUES": "default:8",
            "JOBPLANE_GRACE": "2",
        }
        self.log = journal.path.with_name(f"worker-{time.monotonic_ns()}.log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, "-m", module, "worker", targets],
                env={**os.environ, **profile, **environment},
                cwd=Path(__file__).parent.parent,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def cpu_seconds(self) -> float | None:
        """How much it has worked so far; None where the system does not tell, or once it has ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def exit_code(self, timeout: float = 20.0) -> int:
        """Wait until it has ended; its exit code (negative: the signal that killed it)."""
        return await asyncio.to_thread(self.process.wait, timeout)

    def end(self) -> None:
        """Kill it if it still lives."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
