"""One server process, as the postmaster.pid of its data folder tells of it."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from jobplane.embedded.programs import Account, Programs, run
from jobplane.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PATIENCE = 60.0  # seconds for a start (crash recovery included) or a stop
_LOG_LIMIT = 4 * 1024 * 1024  # bytes; a larger log is begun anew at the next start


class Postmaster(NamedTuple):
    """The main process of a server."""

    pid: int
    port: int
    status: str  # "starting", "ready", "stopping"; empty at first

    @classmethod
    def recorded(cls, data_dir: Path) -> Self | None:
        """The live server of this folder, in whatever state."""
        try:
            lines = (data_dir / "postmaster.pid").read_text("utf-8", "replace").splitlines()
            found = cls(int(lines[0]), int(lines[3]), lines[7].strip() if len(lines) > 7 else "")
        except (FileNotFoundError, IndexError, ValueError):  # not there, or being written
            return None
        return found if is_server(found.pid, data_dir) else None

    @classmethod
    def settled(cls, data_dir: Path) -> Self | None:
        """The live server of this folder once it is ready, or None once there is none."""
        if until(lambda: (found := cls.recorded(data_dir)) is None or found.status == "ready"):
            return cls.recorded(data_dir)
        raise EmbeddedServerError(
            f"the server in {data_dir} is neither ready nor gone after {PATIENCE:.0f} s"
        )

    def shut_down(self, how: signal.Signals, data_dir: Path) -> None:
        """Stop it: SIGINT is PostgreSQL's fast mode, SIGQUIT its immediate one."""
        for signal_ in (how, signal.SIGQUIT):
            try:
                os.kill(self.pid, signal_)
            except ProcessLookupError:
                return
            if until(lambda: not is_server(self.pid, data_dir)):
                return
        raise EmbeddedServerError(f"the server in {data_dir} (process {self.pid}) does not stop")


def launch(
    programs: Programs,
    data_dir: Path,
    *,
    port: int,
    settings: Mapping[str, str],
    log_file: Path,
) -> Postmaster:
    """Start a server, on the port if that is free, and wait until it accepts connections."""
    _drop_recycled_pid(data_dir)
    if log_file.exists() and log_file.stat().st_size > _LOG_LIMIT:
        log_file.unlink()
    deadline = time.monotonic() + PATIENCE
    while True:
        port = _free_port(port)
        arguments = [argument for name, value in settings.items() for argument in ("-c", f"{name}={value}")]
        command: list[str | Path] = [
            programs.folder / "postgres",
            "-D",
            data_dir,
            "-p",
            str(port),
            *arguments,
        ]
        begin = log_file.stat().st_size if log_file.exists() else 0
        pid = _spawn(command, data_dir, programs.account, log_file)
        until(lambda: _is_ready(pid, data_dir) or not is_server(pid, data_dir))  # noqa: B023 - called at once
        found = Postmaster.recorded(data_dir)
        if found and found.pid == pid and found.status == "ready":
            return found
        report = "\n".join(log_file.read_bytes()[begin:].decode("utf-8", "replace").splitlines()[-15:])
        # Backends of a killed server hold its memory for a moment; a port can be taken between the test and the use.
        passing = "is still in use" in report or "Address already in use" in report
        if not passing or time.monotonic() > deadline:
            raise EmbeddedServerError(f"PostgreSQL did not start in {data_dir}:\n{report}")


def _spawn(command: list[str | Path], data_dir: Path, account: Account | None, log_file: Path) -> int:
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    try:
        # The shell leaves at once, so that the server is nobody's child and in nobody's session: Ctrl-C in a terminal
        # does not reach it, and it cannot become the zombie of a process that outlives it.
        detach = ["/bin/sh", "-c", '"$@" </dev/null >&2 & echo $!', "sh", *command]
        return int(run(detach, account, folder=data_dir, errors_to=log))
    finally:
        os.close(log)


def _is_ready(pid: int, data_dir: Path) -> bool:
    found = Postmaster.recorded(data_dir)
    return found is not None and found.pid == pid and found.status == "ready"


def is_server(pid: int, data_dir: Path) -> bool:
    """Whether this process is the folder's server, and not a zombie, nor another that got its number later."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, PermissionError):  # gone, or of a user whose server this cannot be
        return False
    process = Path("/proc", str(pid))
    if not Path("/proc/self/cwd").exists():  # macOS
        return True
    try:
        return (process / "cwd").samefile(data_dir)
    except PermissionError:  # root of a container, who may not look
        return process.stat().st_uid == data_dir.stat().st_uid
    except FileNotFoundError:  # a zombie
        return False


def _drop_recycled_pid(data_dir: Path) -> None:
    # PostgreSQL takes any live process with the recorded number for its server, and would refuse to start for ever.
    # Its second guard, the shared memory of a server that still runs, does not need the file.
    if Postmaster.recorded(data_dir) is None:
        (data_dir / "postmaster.pid").unlink(missing_ok=True)


def until(done: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Wait for a state; False when it did not come."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        # As PostgreSQL does: connections of the last run that linger do not occupy the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
