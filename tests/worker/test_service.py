"""The loop that all services share: start, stop, wake, and going on after failures."""

import asyncio
import random

import pytest

from jobplane.events import DatabaseRecovered, Event, Events, ServiceFailed
from jobplane.worker.service import MOST_PAUSE, Service, jittered
from tests.support import Recorder


class Counter(Service):
    """Counts its runs; fails as often as it is told to."""

    def __init__(self, events: Events, pause: float = 3600.0) -> None:
        super().__init__("counter", events)
        self.pause = pause
        self.failures_left = 0
        self.runs = 0
        self.loops = 0
        self.most_loops = 0
        self.ran = asyncio.Semaphore(0)

    async def run_once(self) -> float:
        self.loops += 1
        self.most_loops = max(self.most_loops, self.loops)
        try:
            await asyncio.sleep(0)
            self.runs += 1
            self.ran.release()
            if self.failures_left:
                self.failures_left -= 1
                raise ConnectionError("away")
        finally:
            self.loops -= 1
        return self.pause

    async def has_run(self, times: int = 1) -> None:
        """Wait for so many further runs."""
        for _ in range(times):
            await asyncio.wait_for(self.ran.acquire(), 10)


async def test_a_service_runs_at_once_and_then_sleeps_for_as_long_as_it_said() -> None:
    service = Counter(Events())

    service.start()
    await service.has_run()
    for _ in range(20):
        await asyncio.sleep(0)

    assert service.runs == 1
    await service.stop()


async def test_waking_cuts_the_sleep_short() -> None:
    service = Counter(Events())
    service.start()
    await service.has_run()

    service.wake()

    await service.has_run()
    await service.stop()


async def test_a_wake_up_that_comes_while_the_service_is_busy_is_not_lost() -> None:
    inside, go_on = asyncio.Semaphore(0), asyncio.Semaphore(0)

    class Busy(Service):
        async def run_once(self) -> float:
            inside.release()
            await go_on.acquire()
            return 3600.0

    service = Busy("busy", Events())
    service.start()
    await inside.acquire()

    service.wake()
    go_on.release()

    await asyncio.wait_for(inside.acquire(), 5)
    await service.stop()


async def test_starting_twice_makes_one_loop() -> None:
    service = Counter(Events(), pause=0.0)

    service.start()
    service.start()
    await service.has_run(50)

    assert service.most_loops == 1
    await service.stop()


async def test_stopping_unstarted_and_stopping_twice_are_fine_and_it_can_start_again() -> None:
    service = Counter(Events())

    await service.stop()
    service.start()
    await service.has_run()
    await service.stop()
    await service.stop()
    service.start()
    await service.has_run()
    await service.stop()

    assert service.runs == 2


async def test_stopping_ends_a_run_wherever_it_is() -> None:
    inside, cleaned_up = asyncio.Event(), asyncio.Event()

    class Hanging(Service):
        async def run_once(self) -> float:
            inside.set()
            try:
                await asyncio.Event().wait()
            finally:
                cleaned_up.set()
            return 0.0

    service = Hanging("hanging", Events())
    service.start()
    await inside.wait()

    await asyncio.wait_for(service.stop(), 5)

    assert cleaned_up.is_set()


async def test_any_order_of_starting_waking_and_stopping_leaves_one_loop_or_none() -> None:
    chance = random.Random(7)
    service = Counter(Events(), pause=0.0)

    async def disturb() -> None:
        for _ in range(100):
            match chance.randrange(4):
                case 0:
                    service.start()
                case 1:
                    service.wake()
                case 2:
                    await service.stop()
                case _:
                    await asyncio.sleep(0)

    await asyncio.gather(*(disturb() for _ in range(5)))
    await service.stop()
    runs = service.runs
    for _ in range(20):
        await asyncio.sleep(0)

    assert service.most_loops <= 1
    assert service.runs == runs, "stopped means stopped"


async def test_a_service_that_fails_says_so_goes_on_and_says_when_it_has_recovered() -> None:
    events = Events()
    recorder = Recorder(events, ServiceFailed, DatabaseRecovered)
    service = Counter(events)
    service.failures_left = 3

    service.start()
    await recorder.wait_for(DatabaseRecovered)

    failures = recorder.of(ServiceFailed)
    assert [type(failure.error) for failure in failures] == [ConnectionError] * 3
    assert {failure.service for failure in failures} == {"counter"}
    assert len(recorder.of(DatabaseRecovered)) == 1
    assert service.runs == 4
    await service.stop()


async def test_the_pauses_between_failures_grow_up_to_a_bound_and_are_spread() -> None:
    events = Events()
    service = Counter(events)
    pauses: list[float] = []

    def take(event: ServiceFailed) -> None:
        pauses.append(event.retry_in)

    events.subscribe(ServiceFailed, take)
    for _ in range(200):
        service._pause_after(ConnectionError())

    assert max(pauses[:2]) <= 0.2
    assert max(pauses) <= MOST_PAUSE
    assert max(pauses) > 0.6 * MOST_PAUSE
    assert len(set(pauses)) == 200, "a fleet that failed together does not come back together"


def test_jitter_keeps_pauses_near_what_was_asked_for() -> None:
    pauses = [jittered(10.0) for _ in range(200)]

    assert min(pauses) >= 9
    assert max(pauses) <= 11
    assert len(set(pauses)) > 100


async def test_a_subscriber_that_raises_is_logged_and_disturbs_neither_the_service_nor_other_subscribers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = Events()
    seen: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("a mistake in a metric")

    events.subscribe(ServiceFailed, broken)
    events.subscribe(ServiceFailed, seen.append)
    events.subscribe(DatabaseRecovered, broken)
    service = Counter(events)
    service.failures_left = 2

    service.start()
    await service.has_run(3)
    service.wake()
    await service.has_run()
    await service.stop()

    assert len(seen) == 2
    assert "a subscriber of ServiceFailed failed" in caplog.text
    assert "a mistake in a metric" in caplog.text
