"""Run a command while other processes keep every core busy: what passes only on an idle machine fails here.

    python tools/busy.py [--processes N] COMMAND [ARGUMENT ...]

Twice as many processes as there are cores count from the command's start to its end (four on two cores). They end with
it, and also when this program is interrupted or killed. The exit code is the command's.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

_SPIN: Final = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides, and kills
while os.getppid() == int(sys.argv[1]):  # or nobody would end this after a kill of the parent
    for _ in range(1_000_000):
        pass
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command's exit code, as a shell would give it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2 * (os.cpu_count() or 1), metavar="N")
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    chosen = parser.parse_args(arguments)
    if not chosen.command:
        parser.error("which COMMAND?")
    with busy(chosen.processes):
        code = run(chosen.command)
    return code if code >= 0 else 128 - code


@contextmanager
def busy(processes: int) -> Iterator[list[int]]:
    """Keep so many processes busy; gives their ids."""
    spinning: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(processes):
            spinning.append(subprocess.Popen([sys.executable, "-S", "-c", _SPIN, str(os.getpid())]))  # noqa: PERF401, S603 - those that started are ended; our own text
        print(f"{processes} processes keep {os.cpu_count()} cores busy", file=sys.stderr, flush=True)
        yield [one.pid for one in spinning]
    finally:
        for one in spinning:
            one.kill()
        for one in spinning:
            one.wait()


def run(command: Sequence[str]) -> int:
    """Run a command to its end, however often someone asks this program to stop."""
    with subprocess.Popen(command) as running:  # noqa: S603 - what the caller asked for
        # Ctrl-C reaches the command too, which ends in its own way: this waits for it. SIGTERM reaches only us.
        previous = {
            signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
            signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: running.terminate()),
        }
        try:
            return running.wait()
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)


if __name__ == "__main__":
    sys.exit(main())
