"""MODULE[:OBJECT] on a command line: which tasks are meant, which database they name, and how their jobs are made."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from types import ModuleType
from typing import Annotated, Final, TypeAlias, cast

import typer

from jobplane.cli.options import database_settings, must_be_given, required_database, under_options
from jobplane.client.queue import JobQueue
from jobplane.errors import ConfigurationError, shown
from jobplane.settings import DatabaseSettings
from jobplane.task import AnyTask, Registry

_MODULE: Final = re.compile(r"\w+(\.\w+)*")


@dataclass(frozen=True, slots=True)
class Targets:
    """All tasks of the named targets, and the queues among them."""

    registry: Registry
    queues: tuple[JobQueue, ...]

    def database(self, url: str | None, schema: str | None) -> DatabaseSettings:
        """The database that the queues name, under the options of the command line. Raises ConfigurationError."""
        if not self.queues:
            return database_settings(url, schema)
        chosen = {under_options(queue.settings, url, schema) for queue in self.queues}
        if len(chosen) > 1:
            raise ConfigurationError(
                "the queues named have different databases, and one command serves one: name one of the queues, or "
                "say which database with --database-url"
            )
        return chosen.pop()


TasksFrom: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--tasks",
        metavar="MODULE[:OBJECT]",
        help="Import the tasks from there, as a worker does: the options and the database of TYPE's task and of its "
        "queue hold where none are given here. May be repeated.",
        show_default=False,
    ),
]


def client_for(names: Iterable[str] | None, url: str | None, schema: str | None) -> JobQueue:
    """A client that knows the named tasks, and makes jobs as their queue does. Raises what `load_targets` raises."""
    if not names:
        return JobQueue(settings=required_database(url, schema))
    found = load_targets(names)
    settings = must_be_given(found.database(url, schema))
    options = found.queues[0].options if len(found.queues) == 1 else None
    client = JobQueue(settings=settings, options=options)
    for task in found.registry:
        client.registry.note(task)
    return client


def load_targets(names: Iterable[str]) -> Targets:
    """Import what is named.

    Raises:
        ConfigurationError: there is no such module or object, it is of another kind, or it holds no tasks.
        TaskDefinitionError: two tasks share a name.
        Exception: whatever a module raises while it is imported.
    """
    # As `python -m` does: what lies in the current folder can be imported, also by the installed command.
    here = os.getcwd()  # noqa: PTH109 - a string is what sys.path holds
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    registry, queues = Registry(), list[JobQueue]()
    for name in names:
        tasks, named = _load(name)
        for task in tasks:
            registry.add(task)
        queues += named
    return Targets(registry, tuple(dict.fromkeys(queues)))


def _load(name: str) -> tuple[Registry, list[JobQueue]]:
    module_name, _, path = name.partition(":")
    module = _import(module_name, name)
    if not path:
        tasks = Registry.of_module(module)
        if not len(tasks):
            raise ConfigurationError(
                f"module {module_name} has no tasks as names of its own: decorate functions with @task or "
                f"@queue.task, or name the queue that has them, as in {module_name}:queue"
            )
        # A module's tasks are enqueued by the queue beside them, so they are claimed from its database.
        return tasks, [value for value in vars(module).values() if isinstance(value, JobQueue)]
    return _tasks_of(_attribute(module, path, name), name)


def _import(module_name: str, name: str) -> ModuleType:
    if not _MODULE.fullmatch(module_name):
        raise ConfigurationError(
            f"{shown(name)} is not MODULE or MODULE:OBJECT, for example app.tasks or app.tasks:queue"
        )
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # A module that was found and fails to import another has a traceback worth seeing.
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(
            f"there is no module {shown(error.name)} (for {shown(name)}), seen from {os.getcwd()}"  # noqa: PTH109 - as above
        ) from None


def _attribute(module: ModuleType, path: str, name: str) -> object:
    try:
        return cast("object", reduce(getattr, path.split("."), module))
    except AttributeError:
        known = sorted(key for key, value in vars(module).items() if isinstance(value, JobQueue | Registry))
        hint = f"; it has {', '.join(known)}" if known else ""
        raise ConfigurationError(
            f"module {module.__name__} has no {shown(path)} (for {shown(name)}){hint}"
        ) from None


def _tasks_of(found: object, name: str) -> tuple[Registry, list[JobQueue]]:
    if isinstance(found, AnyTask):
        return Registry([found]), []
    if callable(found):
        found = _made_by(found, name)
    match found:
        case JobQueue():
            tasks, queues = found.registry, [found]
        case Registry():
            tasks, queues = found, []
        case _:
            raise ConfigurationError(
                f"{shown(name)} is a {type(found).__name__}: a JobQueue, a Registry, a task, or a function that "
                "returns one of the first two is needed"
            )
    if not len(tasks):
        raise ConfigurationError(f"{shown(name)} has no tasks: import the modules that define them first")
    return tasks, queues


def _made_by(function: Callable[[], object], name: str) -> object:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"{shown(name)} needs arguments, so it cannot make a JobQueue or Registry here"
        ) from None
    return function()
