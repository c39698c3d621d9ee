"""S14: secrets come from the environment or from files that only their owner reads, never by the command line's arguments;
what is printed has no password in it; TLS that is asked for is not given up quietly.

Errors of the HTTP API, its /docs and its Host header will be added here when it exists.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import pytest

from jobplane import ConfigurationError, DatabaseSettings, JobQueue, SyncJobQueue
from jobplane.cli.failures import ExitCode
from jobplane.embedded import EmbeddedServer
from jobplane.embedded.programs import server_account
from jobplane.errors import DatabaseError
from jobplane.settings import resolve
from jobplane.store.connecting import connect
from tests.cli.commands import Background, CommandLine
from tests.support import scratch_base, until

SYSTEMS: Final = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
"""The programs of the system's own PostgreSQLs."""
TASKS: Final = (
    "from jobplane import JobQueue\nqueue = JobQueue()\n\n\n@queue.task\nasync def work() -> None: ...\n"
)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the account of a server can enter: pytest's own are private."""
    folder = Path(tempfile.mkdtemp(prefix="jobplane-security-", dir=scratch_base()))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def _password(url: str) -> str:
    found = urlsplit(url).password
    assert found, "the test's server asks for a password"
    return found


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}"))


def _command_lines() -> Mapping[int, str]:
    """The arguments of every process, as `ps` shows them to everyone."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                )
            except OSError:
                continue  # it has just ended
    return found


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="LOUD: no /proc here, so command lines go unchecked"
)
async def test_no_process_of_ours_shows_a_secret_in_its_arguments(
    cli: CommandLine, start_worker: Callable[..., Background], database_url: str
) -> None:
    (cli.folder / "shop.py").write_text(TASKS, encoding="utf-8")
    secret = _password(database_url)
    worker = start_worker("shop", PYTHONPATH=str(cli.folder))

    async def is_ready() -> bool:
        return any("started" in line for line in worker.lines())

    await until(is_ready)
    seen = _command_lines()

    assert "jobplane" in seen[worker.process.pid], "it is in the list"
    assert [line for line in seen.values() if secret in line] == [], "the server's own included"
    assert not any(secret in line for line in worker.lines())


async def test_a_password_on_the_command_line_is_warned_of_once_and_not_repeated(
    cli: CommandLine, database_url: str
) -> None:
    for command in (["jobs", "list", "--json"], ["doctor"], ["migrate", "status"], ["enqueue", "work"]):
        ended = await cli.run(*command, "--database-url", database_url)

        assert ended.code in (ExitCode.DONE, ExitCode.REFUSED)
        assert ended.err.count("warning: --database-url holds a password") == 1
        assert "warning" not in ended.out
        assert _password(database_url) not in ended.out + ended.err


async def test_a_url_without_a_password_is_not_warned_of(cli: CommandLine, database_url: str) -> None:
    url = _without_password(database_url)

    ended = await cli.run("jobs", "list", "--database-url", url, PGPASSWORD=_password(database_url))

    assert (ended.code, ended.err) == (0, "")


async def test_a_password_may_come_from_a_file_and_only_from_one_that_others_cannot_read(
    cli: CommandLine, database_url: str
) -> None:
    passfile = cli.folder / "pgpass"
    passfile.write_text(f"*:*:*:*:{_password(database_url)}\n", encoding="utf-8")
    variables = {"DATABASE_URL": _without_password(database_url), "PGPASSFILE": str(passfile)}

    passfile.chmod(0o600)
    private = await cli.process("jobs", "list", **variables)
    passfile.chmod(0o644)
    public = await cli.process("jobs", "list", **variables, JOBPLANE_PATIENCE="0")

    assert private.code == 0, private.err
    assert public.code == ExitCode.UNAVAILABLE
    assert _password(database_url) not in private.out + private.err + public.out + public.err


async def test_the_startup_of_a_worker_and_doctor_name_the_database_without_its_password(
    cli: CommandLine, database_url: str
) -> None:
    doctor = await cli.run("doctor")

    assert ":***@" in doctor.out
    assert _password(database_url) not in doctor.out + doctor.err


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
async def test_tls_that_is_asked_for_is_not_given_up(database_url: str, tmp_path: Path, mode: str) -> None:
    """The test's server has no TLS: every client refuses to talk to it in the clear."""
    authority, _ = _certificate(tmp_path)
    rest = f"&sslrootcert={authority}" if mode != "require" else ""
    settings = resolve(
        DatabaseSettings, {}, url=f"{database_url}?sslmode={mode}{rest}", patience=0, connect_timeout=2
    ).settings

    async with JobQueue(settings=settings) as queue:
        with pytest.raises(DatabaseError, match="SSL"):
            await queue.count_jobs()
    with SyncJobQueue(settings=settings) as client, pytest.raises(DatabaseError, match="SSL"):
        client.enqueue("work")
    assert _password(database_url) not in str(settings)


async def test_verify_full_without_an_authority_says_what_is_missing(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    missing = r"cannot be verified: root certificate file .*root\.crt.*sslrootcert"

    with pytest.raises(ConfigurationError, match=missing) as caught:
        await connect(resolve(DatabaseSettings, {}, url=f"{database_url}?sslmode=verify-full").settings)

    assert _password(database_url) not in str(caught.value)


@pytest.mark.skipif(
    not SYSTEMS,
    reason="LOUD: no PostgreSQL of the system, and the embedded one has no TLS: verify-full is untested here",
)
async def test_verify_full_takes_a_server_whose_name_its_certificate_has_and_no_other(
    open_folder: Path,
) -> None:
    server, authority = _server_with_tls(open_folder)
    rest = f"?sslmode=verify-full&sslrootcert={authority}"
    try:
        by_name = resolve(
            DatabaseSettings, {}, url=server.url().replace("127.0.0.1", "localhost") + rest
        ).settings
        by_address = resolve(DatabaseSettings, {}, url=server.url() + rest).settings
        connection = await connect(by_name)
        encrypted = await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
        await connection.close()
        with pytest.raises(OSError, match=r"(?i)certificate") as caught:
            await connect(by_address)
    finally:
        server.stop()

    assert encrypted is True
    assert "mismatch" in str(caught.value)


def test_the_files_of_the_embedded_server_are_their_owners_alone(open_folder: Path) -> None:
    server = EmbeddedServer(open_folder / "data", fsync=False)
    with server:
        beside = [path for path in open_folder.iterdir() if path.is_file()]
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in beside}
        lines = _command_lines() if Path("/proc/self/cmdline").exists() else {}

        assert modes
        assert {name: mode & 0o077 for name, mode in modes.items()} == dict.fromkeys(modes, 0)
        assert (open_folder / "data.password").read_text("ascii") in server.url()
        assert [line for line in lines.values() if _password(server.url()) in line] == []


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for `localhost` that signs itself, and its key."""
    key, certificate = folder / "server.key", folder / "server.crt"
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("LOUD: no openssl here, so certificates are untested")
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out", certificate,
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


def _server_with_tls(folder: Path) -> tuple[EmbeddedServer, Path]:
    certificate, key = _certificate(folder)
    files = {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
    server = EmbeddedServer(folder / "data", bin_dir=SYSTEMS[-1], fsync=False, settings=files)
    account = server_account(server.data_dir)
    if account is not None:  # the server does not run as root, who made the key
        os.chown(key, account.uid, account.gid)
    server.start()
    return server, certificate
