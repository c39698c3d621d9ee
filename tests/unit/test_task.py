"""Tasks keep their handler's signature and carry the defaults of their jobs; a registry holds what a worker runs."""

from __future__ import annotations

import inspect
import json
from datetime import UTC, datetime, timedelta
from types import ModuleType
from uuid import UUID

import pytest

from jobplane import (
    Fixed,
    InvalidInputError,
    JobContext,
    JobQueue,
    JobQueueOptions,
    NewJob,
    Registry,
    TaskDefinitionError,
    new_job,
)
from jobplane.client.tasks import TaskOptions
from jobplane.ids import id_from_key, new_job_id
from jobplane.options import OPTION_NAMES, ScheduleOptions
from jobplane.task import AnyTask

queue = JobQueue("postgresql://nowhere.invalid/none")


@queue.task
async def greet(name: str, times: int = 1) -> str:
    """Says hello."""
    return name * times


@queue.task(
    name="rotate-key", queue="keys", max_attempts=7, priority=5, delay=30, tags=["nightly"], timeout=9
)
def rotate(ctx: JobContext, key: str) -> int:
    return len(key)


class Mailer:
    def __init__(self, sender: str) -> None:
        self.sender = sender

    @queue.task
    async def send_mail(self, ctx: JobContext, to: str) -> str:
        return f"{self.sender} to {to}, attempt {ctx.attempt}"

    @queue.task
    def count_mail(self, box: str) -> int:
        return len(self.sender + box)


# -- jobs by value ------------------------------------------------------------------------------------


def test_a_new_job_has_the_contracts_defaults() -> None:
    job = new_job("work", {})

    assert (job.type, job.payload, job.queue, job.priority, job.max_attempts) == (
        "work",
        "{}",
        "default",
        0,
        3,
    )
    assert (job.delay, job.scheduled_at, job.unique_key, job.tags) == (timedelta(0), None, None, None)
    assert job.id.version == 7


def test_each_option_reaches_the_job() -> None:
    job_id = new_job_id()
    options: JobQueueOptions = {
        "queue": "q",
        "priority": 9,
        "max_attempts": 4,
        "unique_key": "u",
        "id": job_id,
        "tags": ["a", "b"],
        "retry": Fixed(timedelta(seconds=3)),
        "delay": 2.5,
    }

    job = new_job("work", {"a": 1}, options)

    assert job == NewJob(
        id=job_id,
        type="work",
        payload='{"a":1,"priority":9}',
        queue="q",
        priority=9,
        max_attempts=4,
        delay=timedelta(seconds=2.5),
        scheduled_at=None,
        unique_key="u",
        tags=("a", "b"),
        retry_policy='{"kind":"fixed","seconds":[3.0]}',
        chosen=frozenset(options),
    )


def test_an_idempotency_key_gives_the_id() -> None:
    assert new_job("work", {}, {"idempotency_key": "k"}).id == id_from_key("k")


def test_an_id_that_somebody_chose_is_not_fresh() -> None:
    assert new_job("work", {}).fresh
    assert greet.new("a").fresh
    assert greet.with_options(queue="q").new("a").fresh
    assert not new_job("work", {}, {"idempotency_key": "k"}).fresh
    assert not new_job("work", {}, {"id": new_job_id()}).fresh


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"delay": 1, "scheduled_at": datetime.now(UTC)}, "delay"),
        ({"id": UUID(int=1), "idempotency_key": "k"}, "id"),
        ({"id": "not a uuid"}, "id"),
        ({"prioritaet": 1}, "options"),
        ({"tags": "abc"}, "tags"),
        ({"unique_key": ""}, "unique_key"),
        ({"idempotency_key": "x" * 256}, "idempotency_key"),
        ({"queue": "a b"}, "queue"),
    ],
)
def test_a_wrong_option_is_refused_by_name(options: JobQueueOptions, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        new_job("work", {}, options)

    assert caught.value.field == field


def test_the_options_of_schedule_are_those_of_enqueue_without_a_due_time() -> None:
    assert OPTION_NAMES - ScheduleOptions.__optional_keys__ == {"delay", "scheduled_at"}


# -- tasks --------------------------------------------------------------------------------------------


async def test_a_task_can_be_called_like_its_function() -> None:
    assert await greet("ab", 2) == "abab"
    assert inspect.getdoc(greet) == "Says hello."
    assert str(inspect.signature(greet)) == "(name: 'str', times: 'int' = 1) -> 'str'"


def test_a_task_makes_jobs_of_its_name_with_its_defaults() -> None:
    job = rotate.new("k1")

    assert (job.type, job.queue, job.max_attempts, job.delay) == (
        "rotate-key",
        "keys",
        7,
        timedelta(seconds=30),
    )
    assert json.loads(job.payload) == {"key": "k1", "priority": 5}
    assert (job.priority, job.tags) == (5, ("nightly",))
    assert rotate.settings.timeout == timedelta(seconds=9)


def test_each_job_of_a_task_has_an_id_of_its_own() -> None:
    assert greet.new("a").id != greet.new("a").id


def test_options_of_a_call_win_over_the_tasks() -> None:
    job = rotate.with_options(queue="other", priority=1, max_attempts=2).new("k1")

    assert (job.queue, job.priority, job.max_attempts, job.delay) == ("other", 1, 2, timedelta(seconds=30))
    assert json.loads(job.payload) == {"key": "k1", "priority": 1}


def test_a_due_time_of_a_call_replaces_the_tasks_delay() -> None:
    due = datetime.now(UTC) + timedelta(days=2)

    job = rotate.with_options(scheduled_at=due).new("k1")

    assert (job.scheduled_at, job.delay) == (due, timedelta(0))


def test_an_at_most_once_task_has_one_attempt_whatever_the_call_says() -> None:
    @queue.task(at_most_once=True)
    def once() -> None: ...

    assert once.new().max_attempts == 1
    assert once.with_options(max_attempts=5).new().max_attempts == 1


def test_a_method_is_a_task_of_its_instance() -> None:
    mailer = Mailer("me")

    assert Mailer.send_mail.is_method
    assert not mailer.send_mail.is_method
    assert json.loads(mailer.send_mail.new("you").payload) == {"to": "you"}
    assert mailer.count_mail("box") == 5
    assert mailer.count_mail.name == "count_mail"


@pytest.mark.parametrize(
    ("task", "is_async"),
    [(greet, True), (rotate, False), (Mailer("a").send_mail, True), (Mailer("a").count_mail, False)],
)
def test_a_task_knows_whether_it_must_be_awaited(task: AnyTask, is_async: bool) -> None:  # noqa: FBT001
    assert task.is_async is is_async


@pytest.mark.parametrize(
    "options",
    [
        {"max_attempts": 0},
        {"priority": 1001},
        {"queue": "a b"},
        {"delay": -1},
        {"timeout": 0},
        {"timeout": -5},
        {"at_most_once": True, "max_attempts": 3},
        {"retries": 5},
        {"name": "a b"},
        {"timeout": float("nan")},
    ],
)
def test_a_wrong_default_is_refused_when_the_task_is_defined(options: TaskOptions) -> None:
    with pytest.raises((InvalidInputError, TaskDefinitionError)) as caught:

        @queue.task(**options)
        def broken() -> None: ...

    assert any(name in str(caught.value) for name in ("type", *options))


# -- registries ---------------------------------------------------------------------------------------


def test_a_queues_tasks_are_in_its_registry_but_for_methods() -> None:
    own = JobQueue("postgresql://nowhere.invalid/none")

    @own.task
    def one() -> None: ...

    class Holder:
        @own.task
        def two(self) -> None: ...

    assert own.registry.types == ["one"]
    assert "one" in own.registry
    assert own.registry.get("one") is one
    assert own.registry.get("two") is None
    own.registry.add(Holder().two)
    assert own.registry.types == ["one", "two"]
    assert len(own.registry) == 2


def test_an_unbound_method_is_refused_with_advice() -> None:
    with pytest.raises(TaskDefinitionError, match=r"send_mail is a method: .* add\(service\.send_mail\)"):
        Registry([Mailer.send_mail])


def test_two_handlers_of_one_name_are_refused_and_the_same_one_twice_is_fine() -> None:
    registry = Registry([greet])
    registry.add(greet)

    @queue.task(name="greet2")
    def other() -> None: ...

    other.name = "greet"
    with pytest.raises(TaskDefinitionError, match="two tasks are named 'greet'"):
        registry.add(other)
    assert registry.get("greet") is greet


def test_the_tasks_of_a_module_are_its_names_that_are_tasks() -> None:
    module = ModuleType("handlers")
    vars(module).update(a=greet, b=rotate, c="text", Mailer=Mailer, method=Mailer.send_mail, again=greet)

    assert Registry.of_module(module).types == ["greet", "rotate-key"]
