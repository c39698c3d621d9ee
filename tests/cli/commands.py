"""Running the command line: as processes of its own, as users do, or inside the test where that is quicker."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from jobplane.cli.main import app

_NOT_OURS = ("DATABASE_URL", "AUDIT_LOGS_DB_", "JOBPLANE_")


def environment(**variables: str) -> dict[str, str]:
    """The test's environment without any setting of jobplane's, and with the given ones."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}
    # Help and usage are drawn as wide as this, whatever terminal the tests were started from.
    return {**inherited, "COLUMNS": "200", "TERM": "dumb", **variables}


@dataclass(frozen=True, slots=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def document(self) -> dict[str, object]:
        """Its one JSON document."""
        found = json.loads(self.out)
        assert isinstance(found, dict)
        return found


class CommandLine:
    """`jobplane ...` against one database."""

    def __init__(self, database_url: str, folder: Path) -> None:
        self.variables = {"DATABASE_URL": database_url}
        self.folder = folder

    async def process(self, *args: str, stdin: str = "", **variables: str) -> Ended:
        """`python -m jobplane ...` as a process of its own, to its end."""
        started = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "jobplane",
            *args,
            env=environment(**{**self.variables, **variables}),
            cwd=self.folder,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(started.communicate(stdin.encode()), 60)
        assert started.returncode is not None
        return Ended(started.returncode, out.decode(), err.decode())

    async def run(self, *args: str, stdin: str = "", **variables: str) -> Ended:
        """The same inside this process, for what needs no process of its own."""
        env: Mapping[str, str | None] = {
            **{name: None for name in os.environ if name.startswith(_NOT_OURS)},
            **environment(**{**self.variables, **variables}),
        }
        # In a thread: a command brings its own event loop.
        result = await asyncio.to_thread(CliRunner().invoke, app, args, input=stdin, env=env)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Ended(result.exit_code, result.stdout, result.stderr)

    def worker(self, *args: str, **variables: str) -> Background:
        """`jobplane worker ...`, running until it is stopped."""
        return Background(["worker", *args], environment(**{**self.variables, **variables}), self.folder)


class Background:
    """A command that goes on."""

    def __init__(self, args: list[str], env: Mapping[str, str], folder: Path) -> None:
        self.log = folder / f"{'-'.join(args[:1])}-{id(self)}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "jobplane", *args],
                env=env,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )

    def lines(self) -> list[str]:
        """What it has said so far."""
        return self.log.read_text(encoding="utf-8").splitlines()

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return await asyncio.to_thread(self.process.wait, 20)

    def end(self) -> None:
        """Kill it if it still lives."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
