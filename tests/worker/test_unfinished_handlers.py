"""A job is completed when its work is done: what a handler hands back to be awaited is awaited, lazy work is refused."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from typing import cast

import pytest

from jobplane import JobQueue, JobStatus, TaskDefinitionError, Worker, task
from jobplane.arguments import Handler
from jobplane.outcome import Completed, Failed, Rescheduled
from jobplane.worker.slots import StopReason
from tests.unit.executor_bench import Bench, claimed


class Work:
    """What handlers do, and whether it was done."""

    def __init__(self) -> None:
        self.done = 0
        self.thread: threading.Thread | None = None

    async def do(self) -> str:
        await asyncio.sleep(0)
        self.thread = threading.current_thread()
        self.done += 1
        return "done"


def wrapped(function: Callable[[], Awaitable[object]]) -> Callable[[], object]:
    """What a decorator makes that knows nothing of asyncio."""

    @functools.wraps(function)
    def wrapper(*args: object, **kwargs: object) -> object:
        return function(*args, **kwargs)

    return wrapper


def plain(call: Callable[[], object]) -> Callable[[], object]:
    """A plain function that returns what `call` does."""

    def handler() -> object:
        return call()

    return handler


class CallsWork:
    """A callable object whose __call__ is no coroutine function."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __call__(self) -> object:
        return self._work.do()


class Deferred:
    """An awaitable that is no coroutine."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def __await__(self) -> Iterator[object]:
        return self._work.do().__await__()


def forgets_to_await(work: Work) -> Callable[[], Coroutine[object, object, object]]:
    """An asynchronous handler that returns another coroutine."""

    async def handler() -> object:
        return work.do()

    return handler


def spawns(work: Work) -> Callable[[], Coroutine[object, object, object]]:
    """An asynchronous handler that returns the task in which it does its work."""

    async def handler() -> object:
        return asyncio.create_task(work.do())

    return handler


def submits(work: Work) -> Callable[[], object]:
    """A handler that returns the future of an executor."""

    def handler() -> object:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(asyncio.run, work.do())

    return handler


FORMS: dict[str, Callable[[Work], Callable[[], object]]] = {
    "functools.wraps": lambda work: wrapped(work.do),
    "functools.partial": lambda work: functools.partial(work.do),
    "partial of a wrapper": lambda work: functools.partial(wrapped(work.do)),
    "plain function": lambda work: plain(work.do),
    "callable object": CallsWork,
    "awaitable object": lambda work: plain(functools.partial(Deferred, work)),
    "twice": lambda work: plain(plain(work.do)),
    "coroutine of a coroutine": forgets_to_await,
    "task": spawns,
    "future of a thread": submits,
}


@pytest.mark.parametrize("store_result", [True, False])
@pytest.mark.parametrize("form", FORMS)
async def test_work_behind_any_callable_is_done_when_the_job_is_completed(
    form: str,
    store_result: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    work = Work()
    handler = task(name="work", store_result=store_result)(FORMS[form](work))

    outcome = await Bench(handler).run(claimed("work"))

    assert outcome == Completed('"done"' if store_result else None)
    assert work.done == 1


async def test_what_a_plain_function_returns_is_awaited_on_the_loop_in_its_context() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    seen: list[object] = []

    async def rest() -> None:
        seen.extend([variable.get(), threading.current_thread() is threading.main_thread()])

    def handler() -> object:
        variable.set("set in the thread")
        return rest()

    assert await Bench(task(name="work")(handler)).run(claimed("work")) == Completed()
    assert seen == ["set in the thread", True]


@pytest.mark.parametrize("reason", [StopReason.CANCELLED, StopReason.TIMEOUT, StopReason.SHUTDOWN])
async def test_work_that_is_awaited_can_be_stopped_as_that_of_any_handler(reason: StopReason) -> None:
    unwound: list[bool] = []

    async def rest() -> None:
        (running,) = bench.slots.running.values()
        asyncio.get_running_loop().call_soon(running.stop, reason)
        try:
            await asyncio.Event().wait()
        finally:
            unwound.append(True)

    bench = Bench(task(name="work")(plain(rest)))

    outcome = await asyncio.wait_for(bench.run(claimed("work")), 10)

    assert not isinstance(outcome, Completed)
    assert unwound == [True]


async def test_a_failure_of_awaited_work_is_the_jobs_failure() -> None:
    async def rest() -> None:
        raise LookupError("in the end")

    outcome = await Bench(task(name="work", max_attempts=3)(plain(rest))).run(claimed("work"))

    assert isinstance(outcome, Rescheduled)
    assert (outcome.error.type, outcome.error.message) == ("LookupError", "in the end")


def generator() -> Iterator[int]:
    """Does nothing before it is iterated over."""
    yield 1


async def async_generator() -> AsyncIterator[int]:
    """Nor does this."""
    yield 1


class CallsGenerator:
    """A callable object whose __call__ is a generator function."""

    def __call__(self) -> Iterator[int]:
        yield 1


@pytest.mark.parametrize(
    "handler",
    [
        generator,
        async_generator,
        functools.partial(generator),
        functools.partial(functools.partial(async_generator)),
        CallsGenerator(),
    ],
    ids=["generator", "async generator", "partial", "partial of a partial", "callable object"],
)
def test_a_generator_function_is_refused_when_the_task_is_defined(handler: Handler) -> None:
    with pytest.raises(TaskDefinitionError, match="work is a generator function"):
        task(name="work")(cast("Callable[[], object]", handler))


LAZY: dict[str, Callable[[], object]] = {
    "generator": plain(generator),
    "wrapped generator": wrapped(cast("Callable[[], Awaitable[object]]", generator)),
    "async generator": plain(async_generator),
    "map": lambda: map(str, [1]),
    "filter": lambda: filter(None, [1]),
    "zip": lambda: zip([1], [2], strict=True),
    "chain": lambda: itertools.chain([1]),
    "expression": lambda: (number for number in [1]),
    "enumerate": lambda: enumerate([1]),
    "reversed": lambda: reversed([1]),
    "iterator of a list": lambda: iter([1]),
    "iterator of a call": lambda: iter(lambda: 1, 2),
    "accumulate": lambda: itertools.accumulate([1]),
    "groupby": lambda: itertools.groupby([1]),
    "pairwise": lambda: itertools.pairwise([1]),
    "tee": lambda: itertools.tee([1])[0],
    "context manager": plain(contextlib.contextmanager(generator)),
    "asynchronous context manager": plain(contextlib.asynccontextmanager(async_generator)),
}


@pytest.mark.parametrize("store_result", [True, False])
@pytest.mark.parametrize("form", LAZY)
async def test_lazy_work_that_nobody_consumed_fails_the_job_and_says_why(
    form: str,
    store_result: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    handler = task(name="work", store_result=store_result, max_attempts=1)(LAZY[form])

    outcome = await Bench(handler).run(claimed("work", max_attempts=1))

    assert isinstance(outcome, Failed)
    assert outcome.error.type == "UnfinishedHandlerError"
    assert "none of its work was done" in outcome.error.message


class Cursor:
    """What a driver returns of a statement that it has run: an iterator whose work is done."""

    def __iter__(self) -> Cursor:
        return self

    def __next__(self) -> int:
        raise StopIteration


async def test_an_iterator_that_has_done_its_work_completes_the_job() -> None:
    handler = task(name="work", max_attempts=1)(plain(Cursor))

    outcome = await Bench(handler).run(claimed("work", max_attempts=1))

    assert isinstance(outcome, Completed)
    assert outcome.not_stored is not None


FORGOTTEN: dict[str, Callable[[Work], object]] = {
    "list": lambda work: [1, work.do()],
    "tuple": lambda work: (work.do(), work.do()),
    "dict": lambda work: {"a": work.do()},
    "generators": lambda _: [generator()],
}


@pytest.mark.parametrize("store_result", [True, False])
@pytest.mark.parametrize("form", FORGOTTEN)
async def test_a_collection_of_coroutines_that_nobody_awaited_fails_the_job(
    form: str,
    store_result: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    work = Work()
    handler = task(name="work", store_result=store_result, max_attempts=1)(
        plain(lambda: FORGOTTEN[form](work))
    )

    outcome = await Bench(handler).run(claimed("work", max_attempts=1))

    assert isinstance(outcome, Failed)
    assert "work was not done" in outcome.error.message
    assert work.done == 0


@pytest.mark.parametrize("decorator", [contextlib.contextmanager, contextlib.asynccontextmanager])
def test_a_context_manager_is_refused_when_the_task_is_defined(
    decorator: Callable[[Callable[[], object]], Callable[[], object]],
) -> None:
    function = generator if decorator is contextlib.contextmanager else async_generator

    with pytest.raises(TaskDefinitionError, match="work is a context manager"):
        task(name="work")(decorator(function))


async def test_a_worker_never_completes_a_job_whose_work_was_not_done(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    work = Work()
    made = {
        form: await queue.task(name=f"form-{number}", max_attempts=1)(make(work)).enqueue()
        for number, (form, make) in enumerate(FORMS.items())
    }
    lazy = await queue.task(name="lazy", max_attempts=1)(LAZY["map"]).enqueue()

    async with make_worker(queue, timeout=20):
        ended = {form: await queue.wait(result.id, 20) for form, result in made.items()}
        refused = await queue.wait(lazy.id, 20)

    assert {form: job.status for form, job in ended.items()} == dict.fromkeys(FORMS, JobStatus.COMPLETED)
    assert work.done == len(FORMS)
    assert refused.status is JobStatus.FAILED


async def test_a_future_that_is_cancelled_elsewhere_is_a_failure_and_no_completion() -> None:
    future: Future[object] = Future()
    future.cancel()

    outcome = await Bench(task(name="work")(lambda: future)).run(claimed("work"))

    assert isinstance(outcome, Rescheduled)
