"""The command itself: version, help, completion, and its exit codes."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from jobplane.cli.failures import ExitCode, exit_code_of
from jobplane.errors import (
    ConfigurationError,
    DatabaseUnavailableError,
    InvalidInputError,
    JobNotFoundError,
    JobplaneError,
    JobStateError,
    MigrationError,
    ReadOnlyDatabaseError,
    SchemaError,
    UniqueKeyTakenError,
    WaitTimeoutError,
)
from jobplane.version import __version__
from tests.cli.commands import CommandLine, environment

NOWHERE = CommandLine("postgresql://nobody@127.0.0.1:1/nothing", Path.cwd())


async def test_the_module_and_the_installed_command_are_the_same() -> None:
    by_module = await NOWHERE.process("--version")
    script = Path(sys.executable).with_name("jobplane")

    process = await asyncio.create_subprocess_exec(
        script, "--version", stdout=asyncio.subprocess.PIPE, env=environment()
    )
    by_script, _ = await process.communicate()

    assert by_module.out == by_script.decode() == f"{__version__}\n"
    assert by_module.code == process.returncode == 0


async def test_help_names_every_group_of_verbs() -> None:
    shown = await NOWHERE.run("--help")

    assert shown.code == 0
    for verb in (
        "demo",
        "migrate",
        "worker",
        "enqueue",
        "jobs",
        "queues",
        "workers",
        "doctor",
        "--install-completion",
    ):
        assert verb in shown.out


async def test_no_command_at_all_shows_the_help() -> None:
    shown = await NOWHERE.run()

    assert "Usage" in shown.out + shown.err
    assert shown.code == ExitCode.USAGE


async def test_the_shell_completes_commands_and_values() -> None:
    command = await _completions("jobplane queues p", 2)
    value = await _completions("jobplane jobs list --status ca", 4)

    assert command == ["pause"]
    assert value == ["cancelled"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInputError("type", "", "must be something"), 2),
        (ConfigurationError("no"), 2),
        (DatabaseUnavailableError("away"), 3),
        (ReadOnlyDatabaseError("standby"), 3),
        (JobNotFoundError("none"), 4),
        (WaitTimeoutError("slow"), 5),
        (JobStateError("no"), 1),
        (UniqueKeyTakenError("no"), 1),
        (SchemaError("no"), 1),
        (MigrationError("no"), 1),
        (JobplaneError("no"), 1),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_every_error_has_its_exit_code(error: JobplaneError, code: int) -> None:
    assert exit_code_of(error) == code


async def test_a_database_that_is_away_is_exit_code_3_and_one_line() -> None:
    ended = await NOWHERE.process("jobs", "list", JOBPLANE_PATIENCE="0")

    assert ended.code == ExitCode.UNAVAILABLE
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "Is PostgreSQL running there?" in ended.err


async def test_naming_no_database_is_a_usage_error_that_says_how(tmp_path: Path) -> None:
    ended = await CommandLine("", tmp_path).run("jobs", "list")

    assert ended.code == ExitCode.USAGE
    assert "set DATABASE_URL or give --database-url" in ended.err


async def test_a_missing_schema_says_to_migrate(bare_cli: CommandLine) -> None:
    ended = await bare_cli.run("queues", "list")

    assert ended.code == ExitCode.REFUSED
    assert "jobplane migrate up" in ended.err


async def test_an_unknown_command_is_a_usage_error() -> None:
    ended = await NOWHERE.run("enqeue")

    assert ended.code == ExitCode.USAGE


async def _completions(words: str, current: int) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("jobplane"),
        stdout=asyncio.subprocess.PIPE,
        env=environment(_JOBPLANE_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(current)),
    )
    out, _ = await process.communicate()
    return out.decode().split()
