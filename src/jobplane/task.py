"""A task: a handler with a name and the defaults of its jobs. Pure: `new` builds a value, a client inserts it.

A Registry maps job types to tasks; it is what a worker runs.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial, update_wrapper
from types import ModuleType
from typing import Generic, ParamSpec, TypeVar, cast

from msgspec.structs import replace

from jobplane.arguments import Arguments, Handler
from jobplane.errors import InvalidInputError, TaskDefinitionError
from jobplane.job import NewJob
from jobplane.limits import as_timedelta, check_type
from jobplane.options import JobQueueOptions, like, new_job, with_defaults
from jobplane.retry import RetryPolicy, check_policy

C = ParamSpec("C")
"""The parameters of a direct call."""
P = ParamSpec("P")
"""The parameters of enqueue: those of the call without the context."""
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSettings:
    """What a task says about its jobs and their runs.

    Args:
        defaults: the options of its jobs, where a call does not say otherwise.
        retry: the retry policy; None means the worker's default (exponential with full jitter).
        timeout: the time an attempt may take; None means the worker's default.
        at_most_once: never run twice: one attempt, and no re-run when its worker dies.
        store_result: keep what the handler returns in the result column.
    """

    defaults: JobQueueOptions = field(default_factory=JobQueueOptions)
    retry: RetryPolicy | None = None
    timeout: timedelta | None = None
    at_most_once: bool = False
    store_result: bool = True

    @property
    def has_one_attempt(self) -> bool:
        """Whether its jobs are tried once at most (between explicit retries), whoever made them."""
        return self.at_most_once or self.defaults.get("max_attempts") == 1


class AnyTask:
    """A task whose parameters do not matter: what registries hold and workers run.

    Attributes:
        name: the job type.
        handler: what to call; its arguments come from `arguments.decode`.
        is_async: whether the call must be awaited.
        is_method: whether `self` is still missing, so that it cannot be run.
    """

    def __init__(self, handler: Handler, name: str, settings: TaskSettings) -> None:
        self.name = check_type(name)
        self.handler = handler
        self.settings = _checked(settings, self.name)
        _refuse_generators(handler, self.name)
        self.is_method = _looks_like_method(handler)
        self.arguments = Arguments(handler, skip_self=self.is_method)
        self.is_async = _is_async(handler)
        # Jobs without options of their own differ in id and payload alone: the rest is checked once, here.
        fixed = settings.defaults.keys().isdisjoint(("id", "idempotency_key", "priority"))
        self._template: NewJob | None = None
        self._template = self.new_from({}, JobQueueOptions()) if fixed else None

    def new_with(
        self, options: JobQueueOptions, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> NewJob:
        """Like `new`, under options that win over the task's own."""
        payload = self.arguments.encode(args, kwargs)
        try:
            return self.new_from(payload, options)
        except InvalidInputError as error:
            if not error.field.startswith("payload"):
                raise
            raise self.arguments.refused(payload, error) from None

    def new_from(self, payload: object, options: JobQueueOptions) -> NewJob:
        """A job of this task with a payload as it is stored, whose fit with the handler is for the worker to check."""
        if not options and self._template is not None:
            return like(self._template, payload)
        job = new_job(self.name, payload, self.options_under(options))
        # The task's own policy needs no copy in the row, but counts before the client's.
        return (
            job
            if self.settings.retry is None
            else replace(job, chosen=(job.chosen or frozenset()) | {"retry"})
        )

    def options_under(self, options: JobQueueOptions) -> JobQueueOptions:
        """The options of a call, filled up with the task's own."""
        settled = with_defaults(self.settings.defaults, options)
        if self.settings.at_most_once:
            settled["max_attempts"] = 1
        return settled

    def __repr__(self) -> str:
        return f"<task {self.name}>"


class TaskSpec(AnyTask, Generic[C, P, R]):
    """A task that keeps its handler's signature. Calling it calls the handler, as if it were not decorated."""

    def __init__(self, handler: Callable[C, R], name: str, settings: TaskSettings) -> None:
        super().__init__(cast("Handler", handler), name, settings)
        self._call = handler
        update_wrapper(self, handler, updated=())

    def __call__(self, *args: C.args, **kwargs: C.kwargs) -> R:
        return self._call(*args, **kwargs)

    def new(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """A job of this task with these arguments, validated but not yet written."""
        return self.new_with(JobQueueOptions(), args, kwargs)


class Registry:
    """Job types and the tasks that run them.

    Iterating gives the tasks; `in` and [] work by job type.
    """

    def __init__(self, tasks: Iterable[AnyTask] = ()) -> None:
        self._tasks: dict[str, AnyTask] = {}
        self._noted: dict[str, AnyTask] = {}
        for task in tasks:
            self.add(task)

    @classmethod
    def of_module(cls, module: ModuleType) -> Registry:
        """All tasks that are names of a module."""
        return cls(
            value for value in vars(module).values() if isinstance(value, AnyTask) and not value.is_method
        )

    def add(self, task: AnyTask) -> None:
        """Register a task. For a method, pass the bound one: `registry.add(service.send)`.

        Raises TaskDefinitionError when another handler has the name already.
        """
        if task.is_method:
            raise TaskDefinitionError(
                f"{task.name} is a method: add it bound to an instance, as in add(service.{task.name})"
            )
        known = self._tasks.setdefault(task.name, task)
        if known is not task and known.handler is not task.handler:
            raise TaskDefinitionError(
                f"two tasks are named {task.name!r}: {known.handler!r} and {task.handler!r}"
            )

    def note(self, task: AnyTask) -> None:
        """Know the options of a task that is not to be run from here, such as a method that has no instance yet."""
        self._noted[task.name] = task

    def find(self, type: object) -> AnyTask | None:  # noqa: A002 - the contract's word
        """The task whose options apply to jobs of a type: one that is registered, or noted; else None."""
        if not isinstance(type, str):
            return None
        return self._tasks.get(type) or self._noted.get(type)

    def get(self, type: str) -> AnyTask | None:  # noqa: A002 - the contract's word
        """The task for a job type, or None."""
        return self._tasks.get(type)

    def __contains__(self, type: str) -> bool:  # noqa: A002 - the contract's word
        return type in self._tasks

    def __iter__(self) -> Iterator[AnyTask]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    @property
    def types(self) -> list[str]:
        """The job types, sorted."""
        return sorted(self._tasks)


def _checked(settings: TaskSettings, name: str) -> TaskSettings:
    new_job(name, {}, settings.defaults)  # its own checks name the option that is wrong
    if settings.retry is not None:
        check_policy(settings.retry)
    if settings.timeout is not None and settings.timeout <= timedelta(0):
        raise InvalidInputError("timeout", settings.timeout, "must be longer than zero")
    if settings.at_most_once and settings.defaults.get("max_attempts", 1) != 1:
        raise InvalidInputError(
            "max_attempts", settings.defaults.get("max_attempts"), "must be 1 for an at-most-once task"
        )
    return settings


def timeout_of(value: timedelta | float | None) -> timedelta | None:
    """A timeout given as timedelta or seconds."""
    return None if value is None else as_timedelta("timeout", value, "must be a timedelta or seconds")


def _looks_like_method(handler: Handler) -> bool:
    # At decoration time a method is still a plain function inside a class body; `self` is all that tells.
    if inspect.ismethod(handler) or not inspect.isfunction(handler):
        return False
    try:
        return next(iter(inspect.signature(handler).parameters), None) == "self"
    except NameError:  # from Python 3.14 on, for an annotation that cannot be resolved: Arguments says so
        return False


def _is_async(handler: Handler) -> bool:
    # Of a plain function around an asynchronous one only its result will tell: see jobplane.worker.unfinished.
    return inspect.iscoroutinefunction(_function_of(handler))


def _refuse_generators(handler: Handler, name: str) -> None:
    function = _function_of(handler)
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TaskDefinitionError(
            f"{name} is a generator function: calling it does none of its work. Let the handler return instead of yield"
        )
    # contextlib's contextmanager and asynccontextmanager wrap one: calling that only makes something to be entered.
    code, inner = getattr(function, "__code__", None), getattr(function, "__wrapped__", None)
    if (inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner)) and (
        getattr(code, "co_filename", "") == contextlib.__file__
    ):
        raise TaskDefinitionError(
            f"{name} is a context manager: calling it does none of its work. Let the handler enter it, with `with`"
        )


def _function_of(handler: Handler) -> object:
    # inspect sees through functools.partial, but not through an object with a __call__.
    inner = handler
    while isinstance(inner, partial):
        inner = inner.func
    return inner if inspect.isroutine(inner) else type(inner).__call__
