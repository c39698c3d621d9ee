"""What a handler returns decides what becomes of its job."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from types import MappingProxyType
from uuid import UUID

import msgspec
import pydantic
import pytest

from jobplane import Cancel, Fail, JobContext, JobQueue, JobStatus, Retry, Snooze, Worker
from jobplane.events import ResultNotStored, ServiceFailed
from jobplane.retry import Fixed
from tests.factories import SQL, attempts_of, row_of
from tests.support import Recorder, until


class Unwritable(pydantic.BaseModel):
    rows: int

    @pydantic.field_serializer("rows")
    def _write(self, value: int) -> int:
        raise ValueError(f"s3cret {value}")


def _nested(levels: int) -> object:
    value: object = []
    for _ in range(levels - 1):
        value = [value]
    return value


async def test_a_returned_value_is_stored_as_the_result(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def sizes() -> dict[str, object]:
        return {"rows": 3, "names": ["a", "ü"], "when": None}

    made = await sizes.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.COMPLETED
    assert job.result == {"rows": 3, "names": ["a", "ü"], "when": None}
    assert job.last_error is None


async def test_returning_nothing_completes_the_job_without_a_result(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def nothing() -> None: ...

    made = await nothing.enqueue()

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    row = await row_of(sql, made.id)
    assert (row["status"], row["result"], row["lease_expires_at"]) == ("completed", None, None)
    assert row["completed_at"] >= row["started_at"]
    assert await attempts_of(sql, made.id) == [], "only attempts that did not complete leave a trace"


@pytest.mark.parametrize("value", [0, False, "", [], {}])
async def test_an_empty_value_is_a_result_all_the_same(
    queue: JobQueue, make_worker: Callable[..., Worker], value: object
) -> None:
    @queue.task
    async def empty() -> object:
        return value

    made = await empty.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result) == (JobStatus.COMPLETED, value)


async def test_a_task_may_say_that_its_results_are_not_kept(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task(store_result=False)
    async def secretive() -> object:
        return object()  # not even storable

    made = await secretive.enqueue()

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    row = await row_of(sql, made.id)
    assert (row["status"], row["result"]) == ("completed", None)


async def test_snooze_runs_the_job_again_and_gives_the_attempt_back(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    attempts: list[tuple[int, int]] = []

    @queue.task(max_attempts=1)
    async def patient(ctx: JobContext) -> Snooze | str:
        attempts.append((ctx.attempt, ctx.epoch))
        return Snooze(timedelta(milliseconds=1)) if len(attempts) < 4 else "done"

    made = await patient.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result, job.attempts) == (JobStatus.COMPLETED, "done", 1)
    assert attempts == [(1, 1), (1, 2), (1, 3), (1, 4)], "the attempt is given back, the epoch never is (I5)"
    assert await queue.list_attempts(made.id) == [], "a snooze is no failure"


async def test_a_snoozed_job_waits_for_as_long_as_it_said(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def later() -> Snooze:
        return Snooze(timedelta(hours=2))

    made = await later.enqueue()

    async with make_worker(queue):
        await until(lambda: _status(sql, made.id, "pending", epoch=1))

    row = await row_of(sql, made.id)
    assert row["attempts"] == 0
    waits = await sql.fetchval("SELECT scheduled_at - now() FROM control_plane.jobs WHERE id = $1", made.id)
    assert timedelta(hours=1, minutes=59) < waits <= timedelta(hours=2)


async def test_cancel_ends_the_job_as_cancelled_with_its_reason(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def unwanted() -> Cancel:
        return Cancel("the project is gone")

    made = await unwanted.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.last_error) == (JobStatus.CANCELLED, "Cancel: the project is gone")
    assert [attempt.outcome for attempt in await queue.list_attempts(made.id)] == ["cancelled"]


async def test_fail_ends_the_job_for_good_whatever_attempts_are_left(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=5, retry=Fixed(timedelta(0)))
    async def hopeless() -> Fail:
        return Fail("no such region")

    made = await hopeless.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts, job.last_error) == (JobStatus.FAILED, 1, "Fail: no such region")


async def test_retry_counts_the_attempt_and_waits_as_it_said_not_as_the_policy_says(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=3, retry=Fixed(timedelta(hours=5)))
    async def flaky(ctx: JobContext) -> Retry | int:
        return Retry(timedelta(0), "not yet") if ctx.attempt < 3 else ctx.attempt

    made = await flaky.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result, job.attempts) == (JobStatus.COMPLETED, 3, 3)
    history = await queue.list_attempts(made.id)
    assert [(past.attempt, past.outcome, past.message) for past in history] == [
        (1, "failed", "not yet"),
        (2, "failed", "not yet"),
    ]


async def test_retry_on_the_last_attempt_is_failure(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task(max_attempts=1)
    async def flaky() -> Retry:
        return Retry(timedelta(0), "not yet")

    made = await flaky.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.last_error) == (JobStatus.FAILED, "Retry: not yet")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"x": float("nan")}, "finite"),
        ("a lone surrogate \ud800", "Unicode"),
        ("a NUL \x00", "NUL"),
        ("x" * (1024 * 1024), "at most 1048576 bytes"),
        ([["x" * 2**20] * 1000] * 1000, "at most 1048576 bytes"),
        ([[[[[[[[[[[]]]]]]]]]]] * 2, None),
        (_nested(65), "at most 64 levels"),
        (object(), "JSON values only"),
        (lambda: 1, "JSON values only"),
        (Unwritable(rows=1), "a serializer failed for a Unwritable"),
    ],
    ids=[
        "nan",
        "surrogate",
        "nul",
        "too large",
        "larger than memory",
        "nested",
        "too deep",
        "object",
        "function",
        "model",
    ],
)
async def test_a_result_that_cannot_be_stored_completes_the_job_marked_and_says_why(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, value: object, said: str | None
) -> None:
    """The work is done, and its job says so."""
    runs = 0

    @queue.task(max_attempts=3, retry=Fixed(timedelta(0)))
    async def odd() -> object:
        nonlocal runs
        runs += 1
        return value

    made = await odd.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, ResultNotStored)

    async with worker:
        job = await queue.wait(made.id, 10)

    assert (job.status, runs) == (JobStatus.COMPLETED, 1), "its work is done: running it again would not help"
    assert await attempts_of(sql, made.id) == [], "no attempt failed"
    if said is None:
        assert (job.result, job.last_error, recorder.seen) == (value, None, [])
        return
    assert job.result is None
    assert (job.last_error or "").startswith("result not stored: ")
    assert said in (job.last_error or "")
    assert "s3cret" not in (job.last_error or "")
    (event,) = recorder.of(ResultNotStored)
    assert (event.claim.id, said in event.reason) == (made.id, True)


async def test_a_result_that_cannot_be_stored_takes_the_place_of_that_of_an_earlier_run(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    results: list[object] = ["good", object()]

    @queue.task
    async def turns() -> object:
        return results.pop(0)

    made = await turns.enqueue()

    async with make_worker(queue):
        assert (await queue.wait(made.id, 10)).result == "good"
        await queue.retry(made.id)
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result) == (JobStatus.COMPLETED, None)


class Colour(Enum):
    RED = "red"


class Safe(str):
    __slots__ = ()


@dataclass
class Row:
    at: datetime
    tags: frozenset[str]


class Report(pydantic.BaseModel):
    rows: int = pydantic.Field(alias="rowCount")

    @pydantic.computed_field
    def twice(self) -> int:
        return self.rows * 2


class Struct(msgspec.Struct, rename="camel"):
    row_count: int


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (Report(rowCount=2), {"rows": 2, "twice": 4}),
        ([Report(rowCount=2)], [{"rows": 2, "twice": 4}]),
        ({"a": Struct(1)}, {"a": {"rowCount": 1}}),
        (
            Row(datetime(2026, 1, 1, tzinfo=UTC), frozenset({"x"})),
            {"at": "2026-01-01T00:00:00Z", "tags": ["x"]},
        ),
        (Safe("text"), "text"),
        (MappingProxyType({"a": (1, Colour.RED)}), {"a": [1, "red"]}),
        (range(3), [0, 1, 2]),
        ({1: UUID(int=1)}, {"1": str(UUID(int=1))}),
        (2**80, 2**80),
    ],
    ids=["model", "models", "struct", "dataclass", "subclass", "mapping", "sequence", "keys", "number"],
)
@pytest.mark.parametrize("threaded", [True, False])
async def test_a_result_is_encoded_like_an_argument(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    value: object,
    stored: object,
    threaded: bool,  # noqa: FBT001
) -> None:
    """A model as a result is stored as its own JSON."""

    @queue.task(name="threaded")
    def in_a_thread() -> object:
        return value

    @queue.task(name="looped")
    async def on_the_loop() -> object:
        return value

    made = await (in_a_thread if threaded else on_the_loop).enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result, job.last_error) == (JobStatus.COMPLETED, stored, None)


async def test_a_result_that_only_postgresql_refuses_is_left_out_and_harms_no_other_job(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def number(digits: int) -> int:
        return int("9" * digits) if digits < 4000 else 10**140_000  # numeric ends at 131072 digits

    made = [await number.enqueue(digits) for digits in (1, 2, 200_000, 3)]
    worker = make_worker(queue)
    recorder = Recorder(worker.events, ResultNotStored)
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        async with worker:
            jobs = [await queue.wait(one.id, 15) for one in made]
    finally:
        sys.set_int_max_str_digits(limit)

    assert {job.status for job in jobs} == {JobStatus.COMPLETED}
    assert [(job.last_error or "").partition(":")[0] for job in jobs] == ["", "", "result not stored", ""]
    assert len(recorder.of(ResultNotStored)) == 1


@pytest.mark.parametrize(
    "wrong",
    [Snooze(5), Snooze(None), Snooze(timedelta.max), Retry("soon"), Cancel(None), Fail(3)],  # type: ignore[arg-type]
    ids=str,
)
async def test_a_decision_with_a_wrong_value_is_recorded_and_harms_no_other_job(
    queue: JobQueue, make_worker: Callable[..., Worker], wrong: object, sql: SQL
) -> None:
    @queue.task(max_attempts=1)
    async def mistaken() -> object:
        return wrong

    @queue.task
    async def neighbour() -> None: ...

    bad = await mistaken.enqueue()
    good = [await neighbour.enqueue() for _ in range(3)]
    worker = make_worker(queue)
    recorder = Recorder(worker.events, ServiceFailed)

    async with worker:
        for one in good:
            assert (await queue.wait(one.id, 10)).status is JobStatus.COMPLETED
        await until(lambda: _no_longer_running(sql, bad.id))

    assert recorder.of(ServiceFailed) == []


async def _status(sql: SQL, job_id: UUID, status: str, epoch: int) -> bool:
    row = await row_of(sql, job_id)
    return (row["status"], row["lease_epoch"]) == (status, epoch)


async def _no_longer_running(sql: SQL, job_id: UUID) -> bool:
    row = await row_of(sql, job_id)
    ended: bool = row["lease_epoch"] == 1 and row["status"] != "running"
    return ended
