"""What the demo provisions: the projects of a JSON file, and the folder of the example that provisions them."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal
from uuid import UUID

import msgspec

from jobplane.errors import ConfigurationError
from jobplane.job import JobPayload
from jobplane.payload import TOO_DEEP, nests_too_deep

HANDLERS: Final = "control_plane"
"""The module of the example that holds the handlers."""
_FOLDER: Final = Path("examples", "control_plane")
_PACKAGE: Final = Path(__file__).resolve().parents[1]


class Project(msgspec.Struct, frozen=True):
    """One entry of the file. What the handler makes of it is the handler's business."""

    id: UUID
    name: str
    slug: str
    plan: str
    owner: str
    region: str
    simulate: dict[str, int] = {}
    expect: Literal["success", "failure"] = "success"

    @property
    def payload(self) -> JobPayload:
        """The arguments of its job."""
        values: dict[str, str | dict[str, int]] = msgspec.to_builtins(self)
        return {"project": {name: value for name, value in values.items() if name != "expect"}}

    @property
    def unique_key(self) -> str:
        """No two jobs may provision one project at the same time."""
        return f"provision_project:{self.id}"


class _File(msgspec.Struct):
    projects: list[Project]


def example_folder() -> Path:
    """The example: of the current folder, else of the checkout this code is from, else the copy in the wheel.

    Raises ConfigurationError when there is none.
    """
    candidates = (Path.cwd() / _FOLDER, _PACKAGE.parents[1] / _FOLDER, _PACKAGE / _FOLDER)
    for folder in candidates:
        if (folder / f"{HANDLERS}.py").is_file():
            return folder
    raise ConfigurationError(
        f"the example is not installed: none of {', '.join(map(str, candidates))} exists"
    )


def read_projects(path: Path) -> list[Project]:
    """The projects of a file. Raises ConfigurationError, which names the entry that is wrong."""
    try:
        text = path.read_bytes()
        if nests_too_deep(text):
            raise ConfigurationError(f"{path} cannot be used as a list of projects: it {TOO_DEEP}")
        projects = msgspec.json.decode(text, type=_File).projects
    except (OSError, msgspec.MsgspecError) as error:
        raise ConfigurationError(f"{path} cannot be used as a list of projects: {error}") from error
    if not projects:
        raise ConfigurationError(f"{path} names no project")
    ids = [project.id for project in projects]
    if doubles := {str(id_) for id_ in ids if ids.count(id_) > 1}:
        raise ConfigurationError(f"{path} gives one id to several projects: {', '.join(sorted(doubles))}")
    return projects
