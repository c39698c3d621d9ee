"""Enqueueing: every option reaches the row, and every violation of a limit is refused with nothing written."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from jobplane import Exponential, InvalidInputError, JobPayload, JobQueue, JobQueueOptions, JobStatus
from jobplane.ids import new_job_id
from jobplane.options import ScheduleOptions
from tests.factories import SQL, count_jobs, row_of

NOW = datetime.now(UTC)
NESTED: list[object] = []
for _ in range(70):
    NESTED = [NESTED]

OPTIONS: list[tuple[str, object, str]] = [
    # option, value outside its limit, what the limit says
    ("delay", -1, "between 0 and 24 hours"),
    ("delay", timedelta(seconds=-1), "between 0 and 24 hours"),
    ("delay", timedelta(hours=24, seconds=1), "between 0 and 24 hours"),
    ("delay", math.nan, "between 0 and 24 hours"),
    ("delay", "60", "between 0 and 24 hours"),
    ("max_attempts", 0, "from 1 to 100"),
    ("max_attempts", 101, "from 1 to 100"),
    ("max_attempts", 2.0, "from 1 to 100"),
    ("max_attempts", True, "from 1 to 100"),
    ("priority", -1, "from 0 to 1000"),
    ("priority", 1001, "from 0 to 1000"),
    ("priority", "high", "from 0 to 1000"),
    ("queue", "", "1 to 100 characters"),
    ("queue", "x" * 101, "1 to 100 characters"),
    ("queue", "a\0b", "1 to 100 characters"),
    ("queue", "schlüssel", "1 to 100 characters"),
    ("unique_key", "", "1 to 255 printable"),
    ("unique_key", "x" * 256, "1 to 255 printable"),
    ("unique_key", "a\0", "1 to 255 printable"),
    ("idempotency_key", "", "1 to 255 printable"),
    ("idempotency_key", 7, "1 to 255 printable"),
    ("id", "01900000-0000-7000-8000-000000000000", "must be a uuid.UUID"),
    ("tags", "one string", "not one string"),
    ("tags", ["x"] * 21, "at most 20"),
    ("tags", ["a\nb"], "1 to 255 printable"),
    ("scheduled_at", datetime(2030, 1, 1), "with a time zone"),  # noqa: DTZ001
    ("scheduled_at", NOW + timedelta(days=367), "at most a year"),
    ("scheduled_at", "tomorrow", "with a time zone"),
]
TYPES = ["", " ", "x" * 101, "a b", "a\0b", "naïve", "a\n", "os.system", "a/b", "'; DROP TABLE jobs; --"]
PAYLOADS: list[tuple[str, object, str]] = [
    ("a list", [1], "must be a JSON object"),
    ("text", "{}", "must be a JSON object"),
    ("a number", 7, "must be a JSON object"),
    ("keys that are no text", {1: 2}, "must be a JSON object"),
    ("NaN", {"a": [math.nan]}, "must be a finite number"),
    ("infinity", {"a": {"b": -math.inf}}, "must be a finite number"),
    ("a lone surrogate", {"a": "\ud800"}, "must be valid Unicode"),
    ("a lone surrogate as key", {"\ud800": 1}, "must be valid Unicode"),
    ("NUL", {"a": "x\0"}, "must not hold NUL"),
    ("NUL as key", {"\0": 1}, "must not hold NUL"),
    ("too large", {"a": "x" * 1_048_576}, "at most 1048576 bytes"),
    ("too deep", {"a": NESTED}, "at most 64 levels"),
    ("no JSON value", {"a": object()}, "must hold JSON values only"),
    ("more digits than Python prints", {"a": 10**5000}, "must hold JSON values only"),
]


@pytest.mark.parametrize(("option", "value", "says"), OPTIONS)
async def test_an_option_outside_its_limit_is_refused_and_nothing_written(
    queue: JobQueue, sql: SQL, option: str, value: object, says: str
) -> None:
    options = cast("JobQueueOptions", {option: value})

    with pytest.raises(InvalidInputError, match=says) as caught:
        await queue.enqueue("work", {}, **options)
    with pytest.raises(InvalidInputError, match=says):
        queue.sync.enqueue("work", {}, **options)

    assert caught.value.field == option
    assert caught.value.value
    assert says in caught.value.limit

    assert await count_jobs(sql) == 0


@pytest.mark.parametrize("job_type", [*TYPES, None, 7])
async def test_a_type_outside_its_limit_is_refused_and_nothing_written(
    queue: JobQueue, sql: SQL, job_type: object
) -> None:
    with pytest.raises(InvalidInputError, match="1 to 100 characters") as caught:
        await queue.enqueue(cast("str", job_type), {})

    assert caught.value.field == "type"
    assert await count_jobs(sql) == 0


@pytest.mark.parametrize(("payload", "says"), [row[1:] for row in PAYLOADS], ids=[row[0] for row in PAYLOADS])
async def test_a_payload_that_cannot_be_stored_is_refused_and_nothing_written(
    queue: JobQueue, sql: SQL, payload: object, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        await queue.enqueue("work", cast("JobPayload", payload))
    with pytest.raises(InvalidInputError, match=says):
        queue.sync.enqueue("work", cast("JobPayload", payload))

    assert caught.value.field.startswith("payload")
    assert len(str(caught.value)) < 300
    assert await count_jobs(sql) == 0


async def test_an_unknown_option_is_refused(queue: JobQueue, sql: SQL) -> None:
    with pytest.raises(InvalidInputError, match=r"options must be among delay, .*; got 'prioritaet'"):
        await queue.enqueue("work", {}, **cast("JobQueueOptions", {"prioritaet": 1}))

    assert await count_jobs(sql) == 0


@pytest.mark.parametrize(
    "due",
    [datetime(2030, 1, 1), "tomorrow", None, NOW + timedelta(days=400)],  # noqa: DTZ001
)
async def test_schedule_refuses_a_time_outside_its_limit(queue: JobQueue, sql: SQL, due: object) -> None:
    with pytest.raises(InvalidInputError, match="scheduled_at"):
        await queue.schedule("work", cast("datetime", due))
    with pytest.raises(InvalidInputError, match="scheduled_at"):
        queue.sync.schedule("work", cast("datetime", due))

    assert await count_jobs(sql) == 0


async def test_schedule_takes_no_delay(queue: JobQueue, sql: SQL) -> None:
    with pytest.raises(InvalidInputError, match="delay cannot be combined with scheduled_at"):
        await queue.schedule("work", NOW, **cast("ScheduleOptions", {"delay": 5}))

    assert await count_jobs(sql) == 0


async def test_every_option_reaches_the_row(queue: JobQueue, sql: SQL) -> None:
    job_id = new_job_id()

    await queue.enqueue(
        "work",
        {"a": 1},
        id=job_id,
        queue="q",
        priority=1000,
        max_attempts=100,
        delay=timedelta(hours=24),
        unique_key="k" * 255,
        tags=["x", "y", "☃"],
        retry=Exponential(jitter=False),
    )

    row = await row_of(sql, job_id)
    assert (row["queue"], row["priority"], row["max_attempts"]) == ("q", 1000, 100)
    assert row["scheduled_at"] - row["created_at"] == timedelta(hours=24)
    assert (row["unique_key"], row["tags"]) == ("k" * 255, ["x", "y", "☃"])
    assert json.loads(row["retry_policy"]) == {
        "kind": "exponential",
        "seconds": [5.0, 3600.0],
        "jitter": False,
    }
    assert json.loads(row["payload"]) == {"a": 1, "priority": 1000}


async def test_a_delay_is_counted_by_the_databases_clock(
    queue: JobQueue, sql: SQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I21: this machine's clock is ten days off."""
    monkeypatch.setattr("time.time_ns", lambda: 1_000_000_000_000_000_000)

    result = await queue.enqueue("work", delay=60)

    assert await sql.fetchval("SELECT scheduled_at - now() < interval '61 seconds' FROM control_plane.jobs")
    assert result.scheduled_at - result.created_at == timedelta(seconds=60)


async def test_a_due_time_in_the_past_is_due_at_once(queue: JobQueue, sql: SQL) -> None:
    past = datetime(2001, 1, 1, tzinfo=UTC)

    result = await queue.schedule("work", past)

    assert (result.scheduled_at, result.status) == (past, JobStatus.PENDING)
    assert await sql.fetchval("SELECT scheduled_at <= now() FROM control_plane.jobs")


async def test_a_due_time_of_another_zone_is_the_same_moment(queue: JobQueue) -> None:
    due = datetime.fromisoformat("2026-06-01T12:00:00+05:30")

    assert (await queue.schedule("work", due)).scheduled_at == due


async def test_the_options_of_a_client_are_the_defaults_of_its_jobs(database_url: str, sql: SQL) -> None:
    options: JobQueueOptions = {"queue": "mine", "max_attempts": 9, "delay": 60}

    async with JobQueue(database_url, options=options) as queue:
        plain = await queue.enqueue("work")
        other = await queue.enqueue("work", queue="other", max_attempts=2)
        due = await queue.schedule("work", NOW)
        by_sync = await asyncio.to_thread(queue.sync.enqueue, "work")

    rows = {job.id: await row_of(sql, job.id) for job in (plain, other, due, by_sync)}
    assert (rows[plain.id]["queue"], rows[plain.id]["max_attempts"]) == ("mine", 9)
    assert (rows[other.id]["queue"], rows[other.id]["max_attempts"]) == ("other", 2)
    assert rows[due.id]["scheduled_at"] == NOW, "a due time replaces the default delay"
    assert (rows[by_sync.id]["queue"], rows[by_sync.id]["max_attempts"]) == ("mine", 9)


@pytest.mark.parametrize("number", [2**53 + 1, -(2**63), 2**64, 10**300, 10**4000])
async def test_whole_numbers_of_any_size_stay_exact(queue: JobQueue, number: int) -> None:
    result = await queue.enqueue("work", {"n": number})

    for job in (await queue.get_job(result.id), queue.sync.get_job(result.id)):
        assert job is not None
        assert job.payload == {"n": number}


async def test_a_row_that_no_python_could_have_written_can_still_be_read(queue: JobQueue, sql: SQL) -> None:
    """One row of another program must not break a page of jobs."""
    huge, deep, odd = [await queue.enqueue("work") for _ in range(3)]
    for job, payload in ((huge, '{"n": 1e5000}'), (deep, "[" * 3000 + "]" * 3000), (odd, '"text"')):
        await sql.execute("UPDATE control_plane.jobs SET payload = $2 WHERE id = $1", job.id, payload)

    page = await queue.list_jobs()

    payloads: Mapping[object, JobPayload] = {job.id: job.payload for job in page.jobs}
    assert payloads == {huge.id: {"n": math.inf}, deep.id: {}, odd.id: {}}
