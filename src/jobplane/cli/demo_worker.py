"""The demo's worker processes: ordinary `jobplane worker` processes, on a lifeline.

Run as a program, this module is that lifeline: it starts `jobplane worker` in its own process, and ends it in order
when its standard input ends. However the demo ends, also by kill -9, its workers end too.
"""

from __future__ import annotations

import asyncio
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from jobplane.errors import JobplaneError

GRACE: Final = 2
"""Seconds that a handler may go on for when its worker is told to stop."""
PATIENCE: Final = GRACE + 4
"""Seconds after which a worker that was told to stop is killed."""
SETTINGS: Final = {
    # Shorter leases than usual, so that someone who kills a worker can watch the recovery.
    "JOBPLANE_HEARTBEAT_INTERVAL": "1",
    "JOBPLANE_LEASE": "5",
    "JOBPLANE_SWEEP_INTERVAL": "1",
    "JOBPLANE_POLL_INTERVAL": "0.5",
    "JOBPLANE_GRACE": str(GRACE),
}
MAX_RESTARTS: Final = 5


class WorkersEndedError(JobplaneError):
    """A worker process of the demo ended, and will not do better next time."""


class WorkerProcesses:
    """The workers of one run.

    Args:
        target: what they run, as `module:object`.
        folder: where that module is.
        environment: for the workers, over our own.
        logs: the folder that gets a log file for each.
    """

    def __init__(self, target: str, folder: Path, environment: Mapping[str, str], logs: Path) -> None:
        path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH", ""))))
        self._environment = {**os.environ, **SETTINGS, **environment, "PYTHONPATH": path}
        self._command = [sys.executable, "-m", __name__, "worker", target]
        self._folder = folder
        self._logs = logs
        self._processes: list[subprocess.Popen[bytes]] = []
        self._started = 0

    @property
    def pids(self) -> list[int]:
        """The process ids of those that live."""
        return [process.pid for process in self._processes if process.poll() is None]

    def start(self, count: int) -> None:
        """Start so many."""
        for _ in range(count):
            self._started += 1
            with (self._logs / f"worker-{self._started}.log").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
                    self._command,
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    # Ctrl-C in a terminal goes to us alone; we tell the workers when to end.
                    start_new_session=True,
                )
            self._processes.append(process)

    def replace_killed(self) -> list[str]:
        """Start another for each that was killed; what happened, as sentences.

        Raises WorkersEndedError, with the end of its log, when one ended by itself, or when too many were killed.
        """
        notes: list[str] = []
        for process in [process for process in self._processes if process.poll() is not None]:
            if process.returncode >= 0 or self._started > MAX_RESTARTS:
                raise WorkersEndedError(
                    f"a worker ended with exit code {process.returncode}; the end of its log:\n{self.log()[-2000:]}"
                )
            self._processes.remove(process)
            _let_go(process)
            self.start(1)
            name = signal.Signals(-process.returncode).name
            notes.append(
                f"worker {process.pid} was killed ({name}); {self._processes[-1].pid} takes its place"
            )
        return notes

    def log(self) -> str:
        """What all of them wrote."""
        return "".join(path.read_text("utf-8", "replace") for path in sorted(self._logs.glob("worker-*.log")))

    async def stop(self) -> None:
        """Ask all to stop; kill those that do not within PATIENCE."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
        deadline = time.monotonic() + PATIENCE
        while self.pids and time.monotonic() < deadline:  # noqa: ASYNC110 - processes tell no event loop
            await asyncio.sleep(0.05)
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            _let_go(process)
        self._processes.clear()


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _end_with_the_demo() -> None:
    # Nothing is ever written to it, so this returns when the demo's end of the pipe is closed, whatever closed it.
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_demo, name="lifeline", daemon=True).start()
    runpy.run_module("jobplane", run_name="__main__", alter_sys=True)
