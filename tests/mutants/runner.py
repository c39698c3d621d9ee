"""Runs the tests on one mutant after the other, each in a fork of a process that has the libraries loaded already."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, cast

import asyncpg
import hypothesis.stateful
import psycopg
import pytest
import sqlalchemy.ext.asyncio

from tests.mutants.mutant import Mutant

PATIENCE: Final = 240.0
"""Seconds for the tests of one mutant; one that hangs is caught too."""
LOADED: Final = (asyncpg, hypothesis.stateful, psycopg, sqlalchemy.ext.asyncio)
"""Imported here, once, for all forks. Nothing of jobplane is: a fork imports the mutant."""


class Judge:
    """The server, and whether it accepts a statement."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._input = cast("IO[str]", process.stdin)
        self._output = cast("IO[str]", process.stdout)
        self.url = self._output.readline().strip()
        assert self.url, "the server did not start"

    def accepts(self, mutant: Mutant) -> bool:
        """Whether it is worth a run: a statement that is no SQL is nobody's slip."""
        if not mutant.is_sql:
            return True
        self._input.write(json.dumps([mutant.target, mutant.text]) + "\n")
        self._input.flush()
        return self._output.readline().strip() == "accepted"


@contextmanager
def judge() -> Iterator[Judge]:
    """Start the server, and stop it at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.mutants.server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Judge(process)
        cast("IO[str]", process.stdin).close()


class Runner:
    """So many forks at a time."""

    def __init__(self, url: str, folder: Path, forks: int) -> None:
        self._url = url
        self._folder = folder
        self._forks = forks
        self._running: dict[int, tuple[Mutant | None, float]] = {}

    def run(
        self, work: Iterable[tuple[Mutant | None, tuple[str, ...]]]
    ) -> Iterator[tuple[Mutant | None, bool]]:
        """Each mutant with whether the tests failed on it, as they end. None stands for the product itself."""
        for number, (mutant, tests) in enumerate(work):
            while len(self._running) >= self._forks:
                yield self._wait()
            self._running[self._fork(mutant, tests, number)] = mutant, time.monotonic() + PATIENCE
        while self._running:
            yield self._wait()

    def fails_on_the_product(self, tests: Iterable[str]) -> str:
        """What the tests print when they fail without a mutant; nothing where all is well."""
        ((_, failed),) = self.run([(None, tuple(tests))])
        return (self._folder / "0.log").read_text(errors="replace") if failed else ""

    def _fork(self, mutant: Mutant | None, tests: tuple[str, ...], number: int) -> int:
        pid = os.fork()
        if pid:
            return pid
        code = 70
        try:
            os.setsid()
            log = os.open(self._folder / f"{number}.log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ["DATABASE_URL"] = self._url
            if mutant is not None:
                path = self._folder / f"{number}.json"
                path.write_text(json.dumps({"target": mutant.target, "text": mutant.text}))
                os.environ["JOBPLANE_MUTANT"] = str(path)
            options = [
                "-x",
                "-q",
                "-p",
                "no:cacheprovider",
                "-W",
                "ignore:Module already imported",
                "--timeout=60",
            ]
            code = int(pytest.main(["-p", "tests.mutants.plugin", *options, *tests]))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _wait(self) -> tuple[Mutant | None, bool]:
        while True:
            for pid, (mutant, end) in self._running.items():
                done, status = os.waitpid(pid, os.WNOHANG)
                late = time.monotonic() > end
                if late and not done:
                    with suppress(ProcessLookupError):
                        os.killpg(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
                if done or late:
                    del self._running[pid]
                    return mutant, late or os.waitstatus_to_exitcode(status) != 0
            time.sleep(0.02)


@contextmanager
def runner(url: str, forks: int) -> Iterator[Runner]:
    """A runner with a folder for its logs."""
    with tempfile.TemporaryDirectory() as folder:
        yield Runner(url, Path(folder), forks)
