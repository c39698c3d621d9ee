"""The embedded server: who uses it, when it starts, when it stops.

- Reached by TCP on 127.0.0.1, with a random password (SCRAM) in a file that only its owner can read. A trusting port
  would let in every user of the machine; a Unix socket would need a short path in a folder that nobody else can
  occupy, for no driver that TCP does not serve. The port is derived from the folder's name, so that the URL is the
  same from one run to the next, unless something else has taken it.
- Shared: each process that uses a folder holds a shared lock on `<folder>.users`, which the kernel drops however the
  process ends. Whoever leaves and can make that lock exclusive was the last, and stops the server. A server whose
  users were all killed stays, and the next start() joins it.
- Created in `<folder>.new` and renamed when complete: a folder is whole or absent.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import signal
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import quote

from jobplane import forking
from jobplane.embedded.postmaster import Postmaster, launch
from jobplane.embedded.programs import (
    ROOTS_FOLDER,
    Programs,
    check_reachable,
    find_programs,
    make_folder,
    run,
    server_account,
)
from jobplane.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

if sys.platform != "win32":
    import fcntl

_DEFAULTS = {"shared_buffers": "256MB", "max_connections": "100", "timezone": "UTC", "log_timezone": "UTC"}
_WITHOUT_FSYNC = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
_FIXED = {"listen_addresses": "127.0.0.1", "unix_socket_directories": ""}


def default_data_dir() -> Path:
    """The data folder of this user. Root's is not in root's home, which the server could not enter."""
    if os.name == "posix" and os.geteuid() == 0:
        return ROOTS_FOLDER / "postgres-18"
    if sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        named = Path(os.environ.get("XDG_DATA_HOME", ""))
        home = named if named.is_absolute() else Path.home() / ".local" / "share"
    return home / "jobplane" / "postgres-18"


class EmbeddedServer:
    """A data folder and the server that runs on it. Starting twice, stopping twice or stopping unstarted is fine."""

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        bin_dir: Path | None = None,
        settings: Mapping[str, str] | None = None,
        fsync: bool = True,
    ) -> None:
        """Say what to run; nothing happens yet.

        Args:
            data_dir: where the data lives; default_data_dir() if not given. Password, log and locks stand beside it.
            bin_dir: the programs of another PostgreSQL, for example /usr/lib/postgresql/15/bin.
            settings: server settings over the defaults. They apply when this call starts the server, not when it joins.
            fsync: False trades all durability for speed; for tests only.
        """
        if os.name != "posix":
            raise EmbeddedServerError("the embedded server needs Linux or macOS; set DATABASE_URL instead")
        if fixed := {"port", *_FIXED} & (settings or {}).keys():
            raise EmbeddedServerError(f"the embedded server itself chooses {', '.join(sorted(fixed))}")
        self.data_dir = (data_dir or default_data_dir()).expanduser().resolve()
        self.log_file = self._beside("log")
        self._bin_dir = bin_dir
        self._settings = {**_DEFAULTS, **({} if fsync else _WITHOUT_FSYNC), **(settings or {}), **_FIXED}
        # A port of its own for each folder, below those of outgoing connections.
        self._port = 20_000 + zlib.crc32(bytes(self.data_dir)) % 10_000
        self._password = ""
        self._users: int | None = None  # our shared lock
        self._owner = 0  # the process that took it
        self._lock = -1  # the exclusive one, while _alone
        forking.renew_in_child(self._forget_after_fork)

    def start(self) -> str:
        """Start the server, or join the one that runs; return its URL."""
        self._forget_after_fork()
        with self._alone():
            try:
                self._enter()
                self._join_or_launch()
            except BaseException:
                self._leave()
                raise
        atexit.unregister(self.stop)
        atexit.register(self.stop)
        return self.url()

    def stop(self) -> None:
        """Leave; the last process to leave stops the server."""
        self._forget_after_fork()
        if self._users is not None:
            atexit.unregister(self.stop)
            with self._alone():
                self._leave()

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Restart the server under everyone who uses it, on the same port; "immediate" as after a crash."""
        with self._alone():
            self._shut_down(signal.SIGINT if mode == "fast" else signal.SIGQUIT)
        self.start()

    def crash(self) -> None:
        """Stop the server without a checkpoint, as tests of faults need it; start() recovers."""
        with self._alone():
            self._shut_down(signal.SIGQUIT)

    def url(self, database: str = "postgres") -> str:
        """The URL of a database, in the form that asyncpg, psycopg and libpq all take."""
        if not self._password:
            raise EmbeddedServerError("the embedded server has not been started")
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self._port}/{quote(database, safe='')}"

    @property
    def postmaster_pid(self) -> int:
        """The process id of the server."""
        if found := Postmaster.recorded(self.data_dir):
            return found.pid
        raise EmbeddedServerError(f"no server runs in {self.data_dir}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _join_or_launch(self) -> None:
        found = Postmaster.settled(self.data_dir)
        if found is None:
            account = server_account(self.data_dir)
            check_reachable(self.data_dir.parent, account)
            programs = find_programs(self._bin_dir, account)
            if (self.data_dir / "PG_VERSION").exists():
                self._check_fit(programs)
            else:
                self._initialise(programs)
            found = launch(
                programs, self.data_dir, port=self._port, settings=self._settings, log_file=self.log_file
            )
        self._port = found.port
        self._password = self._beside("password").read_text("ascii")

    def _check_fit(self, programs: Programs) -> None:
        made_by = (self.data_dir / "PG_VERSION").read_text("ascii").strip()
        if made_by != str(programs.major):
            raise EmbeddedServerError(
                f"{self.data_dir} was made by PostgreSQL {made_by}, but {programs.folder} holds {programs.major}: "
                "choose another data folder, or upgrade this one with pg_upgrade"
            )
        if not self._beside("password").exists():
            raise EmbeddedServerError(f"{self._beside('password')} is missing; without it no one can log in")

    def _initialise(self, programs: Programs) -> None:
        if self.data_dir.exists() and any(self.data_dir.iterdir()):
            raise EmbeddedServerError(
                f"{self.data_dir} holds other files; choose a folder that is empty or new"
            )
        unfinished, password = self._beside("new"), self._beside("password")
        for leftover in (unfinished, password):
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        unfinished.mkdir(mode=0o700)
        with os.fdopen(_open_private(password), "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(24))
        if programs.account:
            for path in (unfinished, password):
                os.chown(path, *programs.account, follow_symlinks=False)
        if programs.major >= 17:  # the same order of text on every platform
            locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
        else:
            locale = ["--locale=C" if sys.platform == "darwin" else "--locale=C.UTF-8"]
        access = ["--username=postgres", "--auth=scram-sha-256", f"--pwfile={password}"]
        initdb: list[str | Path] = [
            programs.folder / "initdb",
            "-D",
            unfinished,
            "--no-sync",
            "--encoding=UTF8",
        ]
        # Were we killed now, initdb would go on and must keep everyone else out until it ends.
        run([*initdb, *access, *locale], programs.account, keep_open=(self._lock,))
        unfinished.rename(self.data_dir)

    def _shut_down(self, how: signal.Signals) -> None:
        if found := Postmaster.recorded(self.data_dir):
            found.shut_down(how, self.data_dir)

    # Who uses it

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            if self._users is None:
                make_folder(self.data_dir.parent)
            lock = _open_private(self._beside("lock"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._lock = lock
                yield
            finally:
                _unlock(lock)
        except OSError as error:
            raise EmbeddedServerError(f"the embedded server in {self.data_dir}: {error}") from error

    def _enter(self) -> None:
        if self._users is None:
            self._users, self._owner = _open_private(self._beside("users")), os.getpid()
            fcntl.flock(self._users, fcntl.LOCK_SH)

    def _leave(self) -> None:
        if self._users is None:
            return
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # others still use it
        else:
            self._shut_down(signal.SIGINT)
        finally:
            _unlock(self._users)
            self._users = None

    def _forget_after_fork(self) -> None:
        # A child shares its parent's lock, and would take itself for the last. Closing its copy releases nothing.
        if self._users is not None and self._owner != os.getpid():
            os.close(self._users)
            self._users = None

    def _beside(self, suffix: str) -> Path:
        return self.data_dir.with_name(f"{self.data_dir.name}.{suffix}")


def _unlock(descriptor: int) -> None:
    # Closing it is not enough: a child that was forked meanwhile has a copy, and would keep the lock.
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
