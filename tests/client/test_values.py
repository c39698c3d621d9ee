"""What goes in comes out equal (point 9), through a real table: both colours, each way to enqueue, any kind of value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, cast
from zoneinfo import ZoneInfo

import pydantic
import pytest

from jobplane import (
    Exponential,
    InvalidArgumentsError,
    InvalidInputError,
    JobContext,
    JobQueue,
    JobQueueOptions,
    JobStatus,
    TaskDefinitionError,
    Worker,
    new_job,
)
from jobplane.job import JobPayload
from tests.cli.commands import CommandLine
from tests.factories import SQL, count_jobs, row_of


class Text(str):
    """What template engines call safe."""

    __slots__ = ()

    def __str__(self) -> str:
        return "not this"


class Whole(int):
    def __int__(self) -> int:
        return -1


class Real(float): ...


class Moment(datetime): ...


class Span(timedelta): ...


class Key(str, Enum):  # noqa: UP042 - the older form, whose str() is the name of the member
    MAIL = "mail"


class Scalar:
    """A whole number that is no int, as numpy.int64."""

    def __index__(self) -> int:
        return 7


class Login(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    user_name: str = pydantic.Field(alias="userName")
    password: pydantic.SecretStr
    at: datetime | None = None
    note: str = ""

    @pydantic.computed_field
    def shout(self) -> str:
        return self.user_name.upper()


LOGIN = Login(
    userName="ann", password=pydantic.SecretStr("correct horse"), at=datetime(2026, 1, 1, tzinfo=UTC)
)
COUNT = Annotated[int, pydantic.Field(gt=0)]


async def test_models_reach_the_handler_as_they_were_given_by_each_way_to_enqueue(
    queue: JobQueue, make_worker: Callable[..., Worker], database_url: str, tmp_path: Path
) -> None:
    cli = CommandLine(database_url, tmp_path)
    got: list[tuple[Login, int, bool]] = []
    raw = cast("JobPayload", {"login": LOGIN, "count": 1, "pair": (1, b"\xff")})

    @queue.task(max_attempts=1)
    async def log_in(ctx: JobContext, login: Login, count: COUNT, pair: tuple[int, bytes]) -> None:
        assert ctx.job.payload["count"] == count
        got.append((login, count, pair == (1, b"\xff")))

    made = [
        await log_in.enqueue(LOGIN, 1, (1, b"\xff")),
        await log_in.with_options(priority=5).enqueue(login=LOGIN, count=1, pair=(1, b"\xff")),
        await queue.enqueue("log_in", raw),
    ]
    await queue.enqueue_many(
        [log_in.new(LOGIN, 1, (1, b"\xff")), log_in.with_options(tags=["a"]).new(LOGIN, 1, (1, b"\xff"))]
    )
    with queue.sync as client:
        made.append(client.enqueue("log_in", raw))
        client.enqueue_many([log_in.new(LOGIN, 1, (1, b"\xff"))])
        made.append(log_in.enqueue_sync(LOGIN, 1, (1, b"\xff")))
    typed = await cli.run(
        "enqueue", "log_in", '{"login": {"userName": "ann", "password": "correct horse", "at": "2026-01-01T00:00:00Z"},'
        ' "count": 1, "pair": [1, "/w=="]}',
    )  # fmt: skip
    assert typed.code == 0, typed.err

    async with make_worker(queue):
        jobs = [await queue.wait(one.id, 10) for one in (await queue.list_jobs()).jobs]

    assert {(job.status, job.last_error) for job in jobs} == {(JobStatus.COMPLETED, None)}
    assert len(jobs) == len(got) == 9
    assert all(login == LOGIN and (count, right) == (1, True) for login, count, right in got)


async def test_what_would_change_is_refused_before_anything_is_written(queue: JobQueue, sql: SQL) -> None:
    class Admin(Login):
        rights: list[str] = []

    @queue.task
    async def log_in(login: Login, count: COUNT = 1) -> None: ...

    @queue.task
    async def anything(value: dict[str, object]) -> None: ...

    admin = Admin(userName="ann", password=pydantic.SecretStr("s3cret"), rights=["all"])
    calls: list[tuple[Callable[[], object], str]] = [
        (lambda: log_in.new(admin), "a Admin that would arrive as a Login"),
        (lambda: log_in.enqueue_sync(admin), "a Admin that would arrive as a Login"),
        (lambda: log_in.with_options(delay=3).new(LOGIN, 0), "greater than 0"),
        (lambda: anything.new({"at": datetime.now(UTC)}), "a datetime that would arrive as a str"),
        (lambda: anything.enqueue_sync({"a": {1: 2}}), "whose key would change"),
    ]
    for call, says in calls:
        with pytest.raises(InvalidArgumentsError, match=says) as caught:
            call()
        assert "s3cret" not in str(caught.value)
        assert caught.value.__cause__ is None
    with pytest.raises(InvalidArgumentsError, match=r"arguments\.login"):
        await log_in.enqueue(admin)

    assert await count_jobs(sql) == 0


async def test_a_constraint_holds_for_a_payload_that_the_client_never_checked(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    ran: list[int] = []

    @queue.task(max_attempts=1)
    async def counts(count: COUNT) -> None:
        ran.append(count)

    made = await queue.enqueue("counts", {"count": 0}, max_attempts=1)

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, ran) == (JobStatus.FAILED, [])
    assert "greater than 0" in (job.last_error or "")


async def test_the_error_of_a_secret_that_does_not_fit_is_stored_without_it(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task(max_attempts=1)
    async def log_in(login: Login) -> None: ...

    made = await queue.enqueue(
        "log_in", {"login": {"userName": 5, "password": "horse-canary"}}, max_attempts=1
    )

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    row = await row_of(sql, made.id)
    assert "horse-canary" in row["payload"]
    assert "userName" in row["last_error"]
    assert "horse-canary" not in row["last_error"]


def test_a_constraint_that_nothing_can_enforce_is_refused_when_the_task_is_defined(queue: JobQueue) -> None:
    with pytest.raises(TaskDefinitionError, match="Annotated"):

        @queue.task
        async def limited(count: int = pydantic.Field(gt=0)) -> None: ...


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_subclasses_are_taken_wherever_a_value_is_and_stored_as_the_plain_one(
    queue: JobQueue, sql: SQL, colour: str
) -> None:
    due = Moment(2026, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    options: JobQueueOptions = {
        "queue": Key.MAIL,
        "priority": Whole(5),
        "max_attempts": Scalar(),  # type: ignore[typeddict-item]
        "unique_key": Text("key"),
        "tags": [Text("tag"), Key.MAIL],
        "scheduled_at": due,
        "tenant": Text("acme"),
        "retry": Exponential(Span(seconds=1), Span(seconds=9), factor=Real(3)),
    }
    payload = {
        Text("text"): Text("a"),
        "whole": Whole(3),
        "real": Real(0.5),
        "at": due,
        "in": [Span(seconds=5)],
    }
    if colour == "async":
        made = await queue.enqueue(Text("work"), payload, **options)  # type: ignore[arg-type]
        later = await queue.enqueue("later", {}, delay=Real(60))
        await queue.list_jobs(limit=Whole(5), tag=Text("tag"))
        await queue.limit_queue(Text("mail"), Whole(3))
    else:
        with queue.sync as client:
            made = client.enqueue(Text("work"), payload, **options)  # type: ignore[arg-type]
            later = client.enqueue("later", {}, delay=Span(seconds=60))
            client.list_jobs(limit=Whole(5), tag=Text("tag"))
            client.limit_queue(Text("mail"), Whole(3))

    job = await queue.get_job(made.id)
    assert job is not None
    assert job.payload == {
        "text": "a",
        "whole": 3,
        "real": 0.5,
        "at": "2026-01-01T12:00:00+01:00",
        "in": ["PT5S"],
        "priority": 5,
    }
    assert (job.type, job.queue, job.priority, job.max_attempts) == ("work", "mail", 5, 7)
    assert (job.unique_key, job.tags, job.scheduled_at, job.tenant) == ("key", ("tag", "mail"), due, "acme")
    row = await row_of(sql, later.id)
    assert (row["scheduled_at"] - row["created_at"]).total_seconds() == pytest.approx(60, abs=1)
    many = new_job(Text("many"), payload, options)
    if colour == "async":
        await queue.enqueue_many([new_job("many", payload, {**options, "unique_key": "other"})])
    assert {type(value) for value in (many.type, many.queue, many.unique_key)} == {str}


async def test_a_schedule_takes_them_too(queue: JobQueue) -> None:
    await queue.create_schedule(
        "nightly",
        "0 3 * * *",
        Text("work"),
        cast("JobPayload", {"at": Moment(2026, 1, 1, tzinfo=UTC)}),
        priority=Whole(3),
    )

    (schedule,) = await queue.list_schedules()
    assert (schedule.type, schedule.payload) == ("work", {"at": "2026-01-01T00:00:00Z", "priority": 3})


async def test_progress_takes_them_too(queue: JobQueue, make_worker: Callable[..., Worker]) -> None:
    refused: list[str] = []

    @queue.task(max_attempts=1)
    async def reports(ctx: JobContext) -> None:
        with pytest.raises(InvalidInputError, match="at most 4096 bytes") as caught:
            ctx.progress(0.1, rows=["x" * 1000] * 10_000_000)
        refused.append(caught.value.field)
        ctx.progress(Real(0.5), Text("half"), at=Moment(2026, 1, 1, tzinfo=UTC), login=LOGIN.user_name)  # type: ignore[arg-type]

    made = await reports.enqueue()
    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert refused == ["progress"]
    assert (job.status, job.last_error) == (JobStatus.COMPLETED, None)
    assert job.progress == {"fraction": 0.5, "message": "half", "at": "2026-01-01T00:00:00Z", "login": "ann"}
