"""Tasks that can enqueue themselves: `@queue.task`, then `await send.enqueue(...)`, checked by type checkers.

A job inserted by value (`send.new(...)`) needs none of this; it is for the usual case of one queue.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MethodType
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, cast, overload

from jobplane.context import JobContext
from jobplane.errors import TaskDefinitionError
from jobplane.job import EnqueueJobResult, NewJob
from jobplane.options import OPTION_NAMES, JobQueueOptions
from jobplane.retry import RetryPolicy
from jobplane.task import AnyTask, Registry, TaskSettings, TaskSpec, timeout_of

C = ParamSpec("C")
P = ParamSpec("P")
B = ParamSpec("B")
"""C of the bound method."""
Q = ParamSpec("Q")
"""P of the bound method."""
R = TypeVar("R")
S = TypeVar("S")


class Sender(Protocol):
    """What a task needs of the asynchronous client."""

    @property
    def sync(self) -> SyncSender: ...

    async def enqueue_new(
        self, job: NewJob, *, connection: object = None, notify: bool = False
    ) -> EnqueueJobResult: ...


class SyncSender(Protocol):
    """What a task needs of the synchronous client."""

    def enqueue_new(
        self, job: NewJob, *, connection: object = None, notify: bool = False
    ) -> EnqueueJobResult: ...


class Task(TaskSpec[C, P, R]):
    """A task of a JobQueue. Calling it calls the handler; `enqueue` makes a job of it."""

    def __init__(
        self, handler: Callable[C, R], name: str, settings: TaskSettings, sender: Callable[[], Sender]
    ) -> None:
        super().__init__(handler, name, settings)
        self._sender = sender

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> EnqueueJobResult:
        """Validate the arguments and write a job; durable on return. Raises InvalidArgumentsError."""
        return await self.with_options().enqueue(*args, **kwargs)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> EnqueueJobResult:
        """As `enqueue`, from synchronous code, over the queue's synchronous client."""
        return self.with_options().enqueue_sync(*args, **kwargs)

    def with_options(
        self, *, connection: object = None, notify: bool = False, **options: Unpack[JobQueueOptions]
    ) -> Enqueuer[P]:
        """The same task under other options: `send.with_options(delay=30).enqueue(...)`.

        Args:
            connection: the caller's own connection or session; the job exists if and only if its
                transaction commits.
            notify: wake workers when that transaction commits. It then commits one by one with all others
                that do so; without it the job starts at the workers' next poll.
            options: see JobQueueOptions.
        """
        return Enqueuer(self, self._sender, options, connection, notify)

    @overload
    def __get__(self, instance: None, owner: type) -> Task[C, P, R]: ...
    @overload
    def __get__(
        self: Task[Concatenate[S, B], Concatenate[S, Q], R], instance: S, owner: type
    ) -> Task[B, Q, R]: ...
    def __get__(self, instance: object, owner: type) -> object:
        """On an instance: the task of the bound method, as functions do."""
        if instance is None or not self.is_method:
            return self
        bound = cast("Callable[[], R]", MethodType(self.handler, instance))
        return Task[[], [], R](bound, self.name, self.settings, self._sender)


class Enqueuer(Generic[P]):
    """A task with options, ready to enqueue."""

    def __init__(
        self,
        task: AnyTask,
        sender: Callable[[], Sender],
        options: JobQueueOptions,
        connection: object,
        notify: bool,  # noqa: FBT001 - passed on from a keyword
    ) -> None:
        self._task = task
        self._sender = sender
        self._options = options
        self._connection = connection
        self._notify = notify

    def new(self, *args: P.args, **kwargs: P.kwargs) -> NewJob:
        """The job as a value, for enqueue_many."""
        return self._task.new_with(self._options, args, kwargs)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> EnqueueJobResult:
        """Validate the arguments and write a job; durable on return. Raises InvalidArgumentsError."""
        job = self.new(*args, **kwargs)
        return await self._sender().enqueue_new(job, connection=self._connection, notify=self._notify)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> EnqueueJobResult:
        """As `enqueue`, from synchronous code."""
        job = self.new(*args, **kwargs)
        return self._sender().sync.enqueue_new(job, connection=self._connection, notify=self._notify)


class TaskOptions(JobQueueOptions, total=False):
    """The keywords of the task decorators: JobQueueOptions are the defaults of the task's jobs."""

    timeout: timedelta | float
    """The time one attempt may take, as timedelta or seconds; default: the worker's."""
    at_most_once: bool
    """Never run twice: one attempt, and no re-run when its worker dies; default False."""
    store_result: bool
    """Keep what the handler returns; default True."""


def settings_from(options: TaskOptions) -> TaskSettings:
    """The decorator's keywords as settings. Raises TaskDefinitionError for an unknown one."""
    own = {"retry", "timeout", "at_most_once", "store_result"}
    unknown = options.keys() - OPTION_NAMES - own
    if unknown:
        raise TaskDefinitionError(f"unknown task option {min(unknown)!r}")
    defaults: Mapping[str, object] = {key: value for key, value in options.items() if key not in own}
    retry: RetryPolicy | None = options.get("retry")
    return TaskSettings(
        defaults=JobQueueOptions(**defaults),  # type: ignore[typeddict-item]
        retry=retry,
        timeout=timeout_of(options.get("timeout")),
        at_most_once=options.get("at_most_once", False),
        store_result=options.get("store_result", True),
    )


class TaskDecorator:
    """`@task` and `@task(...)`: makes tasks whose jobs go through one asynchronous client.

    Args:
        sender: the client, once it is needed.
        registry: where the tasks are known, so that their options apply to jobs made by type.
        run: whether a worker of that registry runs them.
    """

    def __init__(self, sender: Callable[[], Sender], registry: Registry, *, run: bool = True) -> None:
        self._sender = sender
        self._registry = registry
        self._run = run

    @overload
    def __call__(
        self, handler: Callable[Concatenate[JobContext, P], R], /
    ) -> Task[Concatenate[JobContext, P], P, R]: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[S, JobContext, P], R], /
    ) -> Task[Concatenate[S, JobContext, P], Concatenate[S, P], R]: ...  # a method
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Task[P, P, R]: ...
    @overload
    def __call__(self, /, *, name: str = ..., **options: Unpack[TaskOptions]) -> _Decorate: ...
    def __call__(
        self,
        handler: Callable[C, R] | None = None,
        /,
        *,
        name: str = "",
        **options: Unpack[TaskOptions],
    ) -> object:
        """Make a task of a function or method, async or not.

        Args:
            handler: the function, when used without parentheses.
            name: the job type; default the function's name.
            options: see TaskOptions.
        """
        decorate = _Decorate(self._sender, self._registry, name, settings_from(options), run=self._run)
        return decorate if handler is None else decorate(handler)


class _Decorate:
    def __init__(
        self,
        sender: Callable[[], Sender],
        registry: Registry,
        name: str,
        settings: TaskSettings,
        *,
        run: bool,
    ) -> None:
        self._sender = sender
        self._registry = registry
        self._run = run
        self._name = name
        self._settings = settings

    @overload
    def __call__(
        self, handler: Callable[Concatenate[JobContext, P], R], /
    ) -> Task[Concatenate[JobContext, P], P, R]: ...
    @overload
    def __call__(
        self, handler: Callable[Concatenate[S, JobContext, P], R], /
    ) -> Task[Concatenate[S, JobContext, P], Concatenate[S, P], R]: ...  # a method
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Task[P, P, R]: ...
    def __call__(self, handler: Callable[C, R], /) -> object:
        task = Task[C, C, R](
            handler, self._name or getattr(handler, "__name__", ""), self._settings, self._sender
        )
        if self._run and not task.is_method:
            self._registry.add(task)
        else:
            self._registry.note(task)
        return task
