"""A task: a handler with a name and the defaults of its jobs. Pure: `new` builds a value, a client inserts it.

A Registry maps job types to tasks; it is what a worker runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache, update_wrapper
from types import ModuleType
from typing import Final, Generic, ParamSpec, TypedDict, TypeVar, cast
from uuid import UUID

from msgspec.structs import replace

from jobplane.arguments import Arguments, Handler
from jobplane.errors import InvalidInputError, TaskDefinitionError
from jobplane.ids import id_from_key, new_job_id
from jobplane.job import NewJob
from jobplane.limits import (
    DEFAULT_MAX_ATTEMPTS,
    as_timedelta,
    check_delay,
    check_key,
    check_max_attempts,
    check_priority,
    check_queue,
    check_scheduled_at,
    check_tags,
    check_tenant,
    check_type,
)
from jobplane.payload import encode_payload
from jobplane.retry import RetryPolicy, encode_policy

C = ParamSpec("C")
"""The parameters of a direct call."""
P = ParamSpec("P")
"""The parameters of enqueue: those of the call without the context."""
R = TypeVar("R")


class ScheduleOptions(TypedDict, total=False):
    """How to enqueue a job whose due time is given otherwise: all of JobQueueOptions but delay and scheduled_at."""

    queue: str
    """The stream that workers subscribe to; default "default"."""
    priority: int
    """0 to 1000, higher first; default 0. Written to payload["priority"] too."""
    max_attempts: int
    """1 to 100, the first try included; default 3."""
    unique_key: str
    """At most one unfinished job has this key: the existing one is returned, flagged."""
    idempotency_key: str
    """The same key twice makes one job and returns the same one, finished or not."""
    id: UUID
    """A caller-chosen id instead of an idempotency key: giving it twice makes one job."""
    tags: Iterable[str]
    """Up to 20 words to find jobs by."""
    retry: RetryPolicy
    """Delays for this job alone, instead of its type's."""
    tenant: str
    """Whose job it is: 1 to 100 characters of A-Z, a-z, 0-9, ".", "_" and "-". Keys are each tenant's own."""


class JobQueueOptions(ScheduleOptions, total=False):
    """How to enqueue. Whatever is left out comes from the task, then the queue's client, then the default here."""

    delay: timedelta | float
    """A timedelta or seconds, 0 to 24 hours, counted by the database's clock; default 0."""
    scheduled_at: datetime
    """A timezone-aware due time instead of a delay, at most a year ahead."""


OPTION_NAMES: Final = JobQueueOptions.__optional_keys__


def new_job(type: str, payload: object, options: JobQueueOptions | None = None) -> NewJob:  # noqa: A002 - the contract's word
    """A validated wish for a job. Raises InvalidInputError for any value outside its limit."""
    if not options and isinstance(type, str):
        return _like(_plain_job(type), payload)
    given = options or JobQueueOptions()
    for name in given.keys() - OPTION_NAMES:
        raise InvalidInputError("options", name, f"must be among {', '.join(sorted(OPTION_NAMES))}")
    if "delay" in given and "scheduled_at" in given:
        raise InvalidInputError("delay", given["delay"], "cannot be combined with scheduled_at")
    priority = check_priority(given["priority"]) if "priority" in given else None
    return NewJob(
        id=_id_for(given),
        fresh=given.keys().isdisjoint(("id", "idempotency_key")),
        type=check_type(type),
        payload=encode_payload(payload, priority),
        queue=check_queue(given.get("queue", "default")),
        priority=priority or 0,
        max_attempts=check_max_attempts(given.get("max_attempts", DEFAULT_MAX_ATTEMPTS)),
        delay=check_delay(given["delay"]) if "delay" in given else timedelta(0),
        scheduled_at=check_scheduled_at(given["scheduled_at"]) if "scheduled_at" in given else None,
        unique_key=check_key("unique_key", given["unique_key"]) if "unique_key" in given else None,
        tags=check_tags(given["tags"]) if "tags" in given else None,
        retry_policy=encode_policy(given["retry"]) if "retry" in given else None,
        tenant=check_tenant(given["tenant"]) if "tenant" in given else None,
        idempotency_key=given.get("idempotency_key"),
    )


@lru_cache(maxsize=1000)
def _plain_job(type: str) -> NewJob:  # noqa: A002 - the contract's word
    # Jobs of a type without options differ in id and payload alone: the type is checked once.
    return NewJob(id=new_job_id(), type=check_type(type), payload="{}", max_attempts=DEFAULT_MAX_ATTEMPTS)


def with_defaults(defaults: JobQueueOptions, options: JobQueueOptions) -> JobQueueOptions:
    """Options, filled up with defaults. A due time given either way replaces a default of either kind."""
    kept = dict(defaults)
    if "delay" in options or "scheduled_at" in options:
        kept = {key: value for key, value in kept.items() if key not in ("delay", "scheduled_at")}
    return JobQueueOptions(**{**kept, **options})  # type: ignore[typeddict-item]


def _id_for(options: JobQueueOptions) -> UUID:
    if "idempotency_key" not in options:
        chosen = options.get("id")
        if chosen is not None and not isinstance(chosen, UUID):
            raise InvalidInputError("id", chosen, "must be a uuid.UUID")
        return chosen or new_job_id()
    if "id" in options:
        raise InvalidInputError(
            "id", options["id"], "cannot be combined with idempotency_key: the key makes the id"
        )
    tenant = check_tenant(options["tenant"]) if "tenant" in options else None
    return id_from_key(check_key("idempotency_key", options["idempotency_key"]), tenant)


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
        self.is_method = _looks_like_method(handler)
        self.arguments = Arguments(handler, skip_self=self.is_method)
        self.is_async = _is_async(handler)
        # Jobs without options of their own differ in id and payload alone: the rest is checked once, here.
        fixed = settings.defaults.keys().isdisjoint(("id", "idempotency_key", "priority"))
        self._template = None if not fixed or settings.at_most_once else new_job(name, {}, settings.defaults)

    def new_with(
        self, options: JobQueueOptions, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> NewJob:
        """As `new`, under options that win over the task's own."""
        payload = self.arguments.encode(args, kwargs)
        if not options and self._template is not None:
            return _like(self._template, payload)
        settled = with_defaults(self.settings.defaults, options)
        if self.settings.at_most_once:
            settled["max_attempts"] = 1
        return new_job(self.name, payload, settled)

    def __repr__(self) -> str:
        return f"<task {self.name}>"


def _like(template: NewJob, payload: object) -> NewJob:
    return replace(template, id=new_job_id(), payload=encode_payload(payload), fresh=True)


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
    return next(iter(inspect.signature(handler).parameters), None) == "self"


def _is_async(handler: Handler) -> bool:
    call = handler if inspect.isroutine(handler) else type(handler).__call__
    return inspect.iscoroutinefunction(call)
