"""Synchronous handlers in a bounded number of threads, and what becomes of threads that do not come back."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from jobplane.context import JobCancelledError, JobContext
from jobplane.job import Claim
from jobplane.worker.slots import Running, StopReason
from jobplane.worker.threads import SPARE, Threads
from tests.support import until


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    """What handlers wait for; set at the end, so that no thread is left behind."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def make_threads() -> Iterator[Callable[[int], Threads]]:
    """Makes pools; they are closed at the end."""
    made: list[Threads] = []

    def make(most: int) -> Threads:
        made.append(Threads(most))
        return made[-1]

    yield make
    for threads in made:
        threads.close()


def running(*, context: bool = False) -> Running:
    """A synchronous handler as the executor describes it."""
    now = datetime.now(UTC)
    claim = Claim(
        id=uuid4(),
        type="work",
        payload="{}",
        attempt=1,
        max_attempts=3,
        epoch=1,
        queue="default",
        priority=0,
        scheduled_at=now,
        created_at=now,
        started_at=now,
        unique_key=None,
        tags=(),
        progress=None,
        retry_policy=None,
    )
    made = Running(claim=claim, task=None, deadline=float("inf"), started=time.monotonic())
    made.context = JobContext(claim, None, lambda _claim, _text: None) if context else None
    return made


async def test_a_call_answers_what_the_function_returned_or_raises_what_it_raised(
    make_threads: Callable[[int], Threads],
) -> None:
    threads = make_threads(2)

    assert await threads.call(running(), lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await threads.call(running(), lambda: 1 / 0)


async def test_threads_are_used_again_and_none_is_started_before_it_is_needed(
    make_threads: Callable[[int], Threads],
) -> None:
    threads = make_threads(8)
    before = threading.active_count()

    names = {await threads.call(running(), threading.get_ident) for _ in range(50)}

    assert len(names) <= 2, "one after the other needs one thread, or two when the first was slow to return"
    assert threading.active_count() - before <= 2


async def test_no_more_run_at_once_than_allowed_and_the_rest_wait_for_their_turn(
    make_threads: Callable[[int], Threads], let_go: threading.Event
) -> None:
    threads, begun = make_threads(3), []

    def work() -> None:
        begun.append(1)
        let_go.wait()

    calls = [asyncio.create_task(threads.call(running(), work)) for _ in range(7)]
    await until(lambda: _is(len(begun) == 3))
    let_go.set()
    await asyncio.gather(*calls)

    assert len(begun) == 7


async def test_a_thread_that_was_given_up_is_made_up_for_until_it_returns(
    make_threads: Callable[[int], Threads], let_go: threading.Event
) -> None:
    threads, hung, begun = make_threads(1), running(), threading.Event()

    def hang() -> None:
        begun.set()
        let_go.wait()

    call = asyncio.create_task(threads.call(hung, hang))
    assert await asyncio.to_thread(begun.wait, 5)

    hung.stop(StopReason.TIMEOUT)

    with pytest.raises(asyncio.CancelledError):
        await call
    assert await threads.call(running(), lambda: "still serving") == "still serving"


async def test_stuck_threads_are_made_up_for_only_so_often(
    make_threads: Callable[[int], Threads], let_go: threading.Event
) -> None:
    threads, begun = make_threads(1), []

    def hang() -> None:
        begun.append(1)
        let_go.wait()

    for number in range(1, SPARE + 2):
        hung = running()
        call = asyncio.create_task(threads.call(hung, hang))
        await until(lambda wanted=number: _is(len(begun) == wanted))  # type: ignore[misc]
        hung.stop(StopReason.TIMEOUT)
        await asyncio.gather(call, return_exceptions=True)
    last = asyncio.create_task(threads.call(running(), lambda: "served at last"))
    done, _ = await asyncio.wait({last}, timeout=0.1)
    assert not done, "all threads are stuck"

    let_go.set()

    assert await asyncio.wait_for(last, 10) == "served at last"


async def test_a_call_that_is_given_up_while_it_waits_never_begins(
    make_threads: Callable[[int], Threads], let_go: threading.Event
) -> None:
    threads, begun = make_threads(1), []
    first = asyncio.create_task(threads.call(running(), let_go.wait))
    waiting = running()
    second = asyncio.create_task(threads.call(waiting, lambda: begun.append("second")))
    await asyncio.sleep(0)

    waiting.stop(StopReason.SHUTDOWN)

    with pytest.raises(asyncio.CancelledError):
        await second
    let_go.set()
    await first
    assert await threads.call(running(), lambda: "next") == "next"
    assert begun == []


async def test_a_handler_that_can_know_of_its_end_is_waited_for_a_moment(
    make_threads: Callable[[int], Threads],
) -> None:
    threads, told = make_threads(1), running(context=True)
    context = told.context
    assert context is not None
    begun = threading.Event()

    def heedful() -> None:
        begun.set()
        context.wait_cancelled(10)
        context.raise_if_cancelled()

    call = asyncio.create_task(threads.call(told, heedful))
    assert await asyncio.to_thread(begun.wait, 5)

    told.stop(StopReason.SHUTDOWN)

    with pytest.raises(JobCancelledError):
        await call


async def test_a_handler_that_was_asked_to_cancel_is_left_to_decide_until_something_stronger_comes(
    make_threads: Callable[[int], Threads], let_go: threading.Event
) -> None:
    threads, asked = make_threads(1), running()
    call = asyncio.create_task(threads.call(asked, let_go.wait))
    await asyncio.sleep(0)

    asked.stop(StopReason.CANCELLED)
    done, _ = await asyncio.wait({call}, timeout=0.1)
    assert not done
    asked.stop(StopReason.TIMEOUT)

    with pytest.raises(asyncio.CancelledError):
        await call
    assert asked.stop_reason is StopReason.CANCELLED, "the first reason stands"


async def _is(answer: bool) -> bool:  # noqa: FBT001 - for until
    return answer
