"""docs/reference/cli.md names every command, every option and every exit code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from typer.main import get_command

from jobplane.cli.checks import NAMES
from jobplane.cli.failures import ExitCode
from jobplane.cli.main import app

PAGE = (Path(__file__).parent.parent.parent / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
SHARED = {"--help", "-h", "--database-url", "--schema", "--json", "--version"}


class _Option(Protocol):
    opts: list[str]


class _Command(Protocol):
    params: list[_Option]
    commands: dict[str, _Command]


def _leaves(command: _Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], _Command]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


LEAVES = dict(_leaves(cast("_Command", get_command(app))))


def _section(name: str) -> str:
    """The page under the heading of one group of verbs."""
    match = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    assert match is not None, f"no section {name}"
    return match[1]


def test_every_command_is_shown_as_it_is_typed() -> None:
    missing = [" ".join(path) for path in LEAVES if f"jobplane {' '.join(path)}" not in _section(path[0])]

    assert missing == []


def test_every_option_stands_in_the_section_of_its_command() -> None:
    missing = [
        f"{' '.join(path)} {option}"
        for path, command in LEAVES.items()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("-") and option not in SHARED and f"{option}" not in _section(path[0])
    ]

    assert missing == []


def test_the_shared_options_are_explained_once() -> None:
    assert [option for option in SHARED if option not in PAGE] == []


def test_no_option_is_named_that_does_not_exist() -> None:
    known = {
        option for command in LEAVES.values() for parameter in command.params for option in parameter.opts
    }
    known |= SHARED | {"--install-completion", "--show-completion"}

    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE))

    assert named - known == set()


def test_every_exit_code_has_its_row() -> None:
    assert [code for code in ExitCode if f"| {code.value} |" not in PAGE] == []


def test_every_check_of_the_doctor_has_its_row() -> None:
    assert [name for name in NAMES if f"| `{name}` |" not in _section("doctor")] == []
