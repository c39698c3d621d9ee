"""Events go to those who subscribed to their class, and a bad subscriber disturbs nobody."""

from __future__ import annotations

import inspect
import logging

import pytest

from jobplane import events
from jobplane.events import Event, Events, JobsPruned, WorkerStopped


def test_an_event_reaches_the_subscribers_of_its_class_in_order() -> None:
    hub, seen = Events(), list[object]()
    hub.subscribe(JobsPruned, lambda event: seen.append(("first", event)))
    hub.subscribe(JobsPruned, lambda event: seen.append(("second", event)))
    hub.subscribe(WorkerStopped, seen.append)

    hub.emit(JobsPruned(3))

    assert seen == [("first", JobsPruned(3)), ("second", JobsPruned(3))]


def test_an_event_that_nobody_wants_is_dropped() -> None:
    hub = Events()

    hub.emit(JobsPruned(1))

    assert not hub.wants(JobsPruned)


def test_the_hub_knows_what_is_wanted() -> None:
    hub = Events()
    hub.subscribe(JobsPruned, lambda _: None)

    assert hub.wants(JobsPruned)
    assert not hub.wants(WorkerStopped)


def test_a_subscriber_that_raises_is_logged_and_the_others_still_hear(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub, seen = Events(), list[Event]()

    def broken(_: JobsPruned) -> None:
        raise RuntimeError("oops")

    hub.subscribe(JobsPruned, broken)
    hub.subscribe(JobsPruned, seen.append)

    with caplog.at_level(logging.ERROR, "jobplane.events"):
        hub.emit(JobsPruned(1))

    assert seen == [JobsPruned(1)]
    assert "a subscriber of JobsPruned failed" in caplog.text


def test_every_event_stands_in_the_modules_table() -> None:
    classes = {
        name
        for name, value in vars(events).items()
        if inspect.isclass(value) and issubclass(value, Event) and value is not Event
    }

    documented = {
        line.split("|")[1].strip() for line in (events.__doc__ or "").splitlines() if line.startswith("| ")
    }
    assert classes == documented - {"event"}
