"""`make test-busy`: the command runs beside busy processes, which end with it, whatever happens to whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from jobplane.embedded.postmaster import until
from tools.busy import busy, main

BUSY: Final = Path(__file__).parents[2] / "tools" / "busy.py"
SAYS_WHO: Final = "import os, time; print(os.getpid(), os.getppid(), flush=True); time.sleep(60)"

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only /proc tells who is busy")


def children_of(parent: int) -> list[int]:
    """The processes that a process started and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, ppid = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:  # it has just ended
            continue
        if int(ppid) == parent and state != "Z":
            found.append(int(folder.name))
    return found


def lives(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def work_of(pid: int) -> int:
    """How long a process has worked, in hundredths of a second."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def test_so_many_processes_work_until_the_end() -> None:
    with busy(3) as pids:
        assert until(lambda: all(work_of(pid) > 0 for pid in pids))

    assert [pid for pid in pids if lives(pid)] == []


@pytest.mark.parametrize(("command", "code"), [("pass", 0), ("raise SystemExit(3)", 3)])
def test_the_exit_code_is_the_commands(command: str, code: int) -> None:
    assert main(["--processes", "1", sys.executable, "-c", command]) == code


def test_a_command_that_was_killed_is_a_failure() -> None:
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

    assert main(["--processes", "1", sys.executable, "-c", killed]) == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nobody_is_busy_any_more_after_it_was_told_to_end(number: signal.Signals) -> None:
    program = [sys.executable, str(BUSY), "--processes", "2", sys.executable, "-c", SAYS_WHO]
    with subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    ) as started:
        assert started.stdout is not None
        command, _ = map(int, started.stdout.readline().split())
        spinning = [pid for pid in children_of(started.pid) if pid != command]
        assert len(spinning) == 2

        if number is signal.SIGINT:  # Ctrl-C: the whole group
            os.killpg(started.pid, number)
        else:
            started.send_signal(number)

        assert until(lambda: not any(map(lives, spinning)))
        if lives(command):  # a kill of the tool is nothing that the command hears of
            assert number is signal.SIGKILL
            os.kill(command, signal.SIGKILL)
    assert started.returncode != 0
