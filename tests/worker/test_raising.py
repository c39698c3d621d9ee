"""I19: whatever a handler raises ends in a stored outcome, and its worker goes on."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

import pytest

from jobplane import JobQueue, JobStatus, Worker
from jobplane.events import ServiceFailed
from jobplane.retry import RetryPolicy
from tests.support import Recorder


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class TextlessError(Exception):
    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # noqa: PLE0307 - the point of it


class HostileError(Exception):
    def __str__(self) -> str:
        raise SystemExit("from __str__")


class BareError(BaseException):
    """Neither an Exception nor anything that Python knows."""


def recurse() -> NoReturn:
    recurse()


def dig(levels: int = 0) -> NoReturn:
    if levels == 200:
        raise ValueError("from the depth")
    dig(levels + 1)


def throw(error: BaseException) -> Callable[[], NoReturn]:
    def handler() -> NoReturn:
        raise error

    return handler


RAISERS: dict[str, tuple[Callable[[], object], str]] = {
    "exception": (throw(ValueError("plain")), "ValueError: plain"),
    "no message": (throw(ValueError()), "ValueError"),
    "__str__ raises": (
        throw(UnprintableError()),
        "UnprintableError: <message unavailable: __str__ raised RuntimeError>",
    ),
    "__str__ answers None": (
        throw(TextlessError()),
        "TextlessError: <message unavailable: __str__ raised TypeError>",
    ),
    "__str__ exits": (
        throw(HostileError()),
        "HostileError: <message unavailable: __str__ raised SystemExit>",
    ),
    "10 MB": (throw(ValueError("é" * 5_000_000)), "ValueError: " + "é" * 100),
    "NUL": (throw(ValueError("a\x00b")), "ValueError: a\N{REPLACEMENT CHARACTER}b"),
    "lone surrogate": (throw(ValueError("a\ud800b")), "ValueError: a\N{REPLACEMENT CHARACTER}b"),
    "base exception": (throw(BareError("odd")), "BareError: odd"),
    "SystemExit": (throw(SystemExit(3)), "SystemExit: 3"),
    "KeyboardInterrupt": (throw(KeyboardInterrupt()), "KeyboardInterrupt"),
    "CancelledError": (throw(asyncio.CancelledError("by myself")), "CancelledError: by myself"),
    "GeneratorExit": (throw(GeneratorExit()), "GeneratorExit"),
    "group": (
        throw(ExceptionGroup("two", [ValueError(), OSError()])),
        "ExceptionGroup: two (2 sub-exceptions)",
    ),
    "recursion": (recurse, "RecursionError: maximum recursion depth exceeded"),
    "deep traceback": (dig, "ValueError: from the depth"),
    "memory": (throw(MemoryError()), "MemoryError"),
    # Python itself turns it into a RuntimeError where it leaves a coroutine.
    "StopIteration": (throw(StopIteration("early")), "RuntimeError: coroutine raised StopIteration"),
}


@pytest.mark.parametrize("kind", RAISERS)
@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_whatever_a_handler_raises_is_recorded_and_the_next_job_runs(
    queue: JobQueue, make_worker: Callable[..., Worker], colour: str, kind: str
) -> None:
    call, expected = RAISERS[kind]

    @queue.task(max_attempts=1)
    async def raise_async() -> object:
        return call()

    @queue.task(max_attempts=1)
    def raise_sync() -> object:
        return call()

    @queue.task
    async def neighbour() -> str:
        return "fine"

    worker = make_worker(queue, queues="default:1")
    recorder = Recorder(worker.events, ServiceFailed)

    async with worker:
        bad = await (raise_sync if colour == "sync" else raise_async).enqueue()
        failed = await queue.wait(bad.id, 10)
        good = await neighbour.enqueue()
        completed = await queue.wait(good.id, 10)

    assert failed.status is JobStatus.FAILED
    assert (failed.last_error or "").startswith(expected)
    assert len((failed.last_error or "").encode()) < 8192
    assert completed.result == "fine", "the only slot is still there"
    assert recorder.of(ServiceFailed) == []


async def test_a_failure_keeps_its_last_frames_but_neither_values_nor_source(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=1)
    async def deep() -> object:
        password = "hunter2"
        return [dig(), password]

    made = await deep.enqueue()

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    (attempt,) = await queue.list_attempts(made.id)
    assert (attempt.error_type, attempt.message) == ("ValueError", "from the depth")
    assert len(attempt.frames) == 20
    assert attempt.frames[-1].endswith(" dig")
    assert "hunter2" not in repr(attempt)


async def test_a_handler_that_cancels_its_own_task_fails_and_leaves_the_slot_behind(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=1)
    async def suicidal() -> None:
        runner = asyncio.current_task()
        assert runner is not None
        runner.cancel()
        await asyncio.Event().wait()

    @queue.task
    async def neighbour() -> None: ...

    async with make_worker(queue, queues="default:1"):
        for _ in range(3):
            bad = await suicidal.enqueue()
            failed = await queue.wait(bad.id, 10)
            assert (failed.status, failed.last_error) == (JobStatus.FAILED, "CancelledError")
        good = await neighbour.enqueue()
        assert (await queue.wait(good.id, 10)).status is JobStatus.COMPLETED


async def test_a_cancellation_that_a_handler_leaves_behind_hits_no_other_job(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def careless() -> str:
        runner = asyncio.current_task()
        assert runner is not None
        runner.cancel()  # takes effect at the next await, which is not in this handler
        return "done"

    @queue.task(max_attempts=1)
    async def neighbour() -> str:
        await asyncio.sleep(0)
        return "fine"

    made = [await job.enqueue() for job in (careless, neighbour, careless, neighbour)]

    async with make_worker(queue, queues="default:1"):
        jobs = [await queue.wait(one.id, 10) for one in made]

    assert [job.result for job in jobs] == ["done", "fine", "done", "fine"]


async def test_a_retry_policy_with_a_mistake_does_not_cost_the_outcome(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    class Mistaken(RetryPolicy):
        def _delay(self, attempt: int) -> timedelta:  # noqa: ARG002 - the base class says what is given
            return "soon"  # type: ignore[return-value]

    @queue.task(max_attempts=2, retry=Mistaken())
    async def mistaken() -> None:
        raise ValueError("the real error")

    worker = make_worker(queue)
    recorder = Recorder(worker.events, ServiceFailed)
    made = await mistaken.enqueue()

    async with worker:
        job = await queue.get_job(made.id)
        while job is None or job.last_error is None:
            job = await queue.get_job(made.id)

    assert (job.status, job.last_error) == (JobStatus.PENDING, "ValueError: the real error")
    assert timedelta(0) < job.scheduled_at - job.created_at < timedelta(seconds=15), "the default's delay"
    assert recorder.of(ServiceFailed) == []
