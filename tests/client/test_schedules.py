"""The clients' verbs for schedules: what each changes and answers, in both colours (I17: idempotent by name)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from jobplane import (
    Fixed,
    InvalidInputError,
    JobQueue,
    JobQueueOptions,
    JobStatus,
    Missed,
    ScheduleChange,
    ScheduleNotFoundError,
    Worker,
)
from jobplane.client.scheduling import AsyncScheduling, SyncScheduling
from jobplane.settings import DatabaseSettings
from tests.factories import SQL, count_jobs, row_of
from tests.support import until


async def test_a_schedule_is_created_changed_and_left_as_it_is(queue: JobQueue) -> None:
    first = await queue.create_schedule("nightly", "0 3 * * *", "work", {"a": [1]}, tags=["x"])
    again = await queue.create_schedule("nightly", " 0  3 * * * ", "work", {"a": [1]}, tags=["x"])
    other = await queue.create_schedule("nightly", "0 4 * * *", "work", {"a": [1]}, tags=["x"])
    plain = await queue.create_schedule("nightly", "0 4 * * *", "work")

    assert (first, again, other, plain) == (
        ScheduleChange.CREATED,
        ScheduleChange.UNCHANGED,
        ScheduleChange.CHANGED,
        ScheduleChange.CHANGED,
    )


async def test_a_schedule_is_listed_as_it_was_made_with_its_next_tick(queue: JobQueue) -> None:
    await queue.create_schedule(
        "nightly",
        "30 2 * * *",
        "work",
        {"a": 1},
        timezone="Europe/Berlin",
        missed="all",
        missed_cap=7,
        queue="mail",
        priority=5,
        max_attempts=9,
        unique_key="one",
        tags=["x", "y"],
        retry=Fixed(timedelta(seconds=5)),
    )

    (schedule,) = await queue.list_schedules()

    assert (schedule.name, schedule.cron, schedule.timezone) == ("nightly", "30 2 * * *", "Europe/Berlin")
    assert (schedule.type, dict(schedule.payload)) == ("work", {"a": 1, "priority": 5})
    assert (schedule.queue, schedule.priority, schedule.max_attempts) == ("mail", 5, 9)
    assert (schedule.unique_key, schedule.tags) == ("one", ("x", "y"))
    assert (schedule.missed, schedule.missed_cap) == (Missed.ALL, 7)
    assert (schedule.paused_at, schedule.last_tick, schedule.last_job_id) == (None, None, None)
    assert schedule.next_tick is not None
    assert timedelta(0) < schedule.next_tick - datetime.now(UTC) <= timedelta(days=1, hours=1)
    assert "'a': 1" not in repr(schedule), "payloads stay out of logs"


async def test_a_change_of_the_job_alone_keeps_the_place_in_time_and_one_of_the_times_does_not(
    queue: JobQueue, sql: SQL
) -> None:
    await queue.create_schedule("s", "@hourly", "work")
    await sql.execute("UPDATE control_plane.schedules SET last_tick = '2026-01-01 00:00+00'")

    await queue.create_schedule("s", "@hourly", "other")
    kept = await sql.fetchval("SELECT last_tick FROM control_plane.schedules")
    await queue.create_schedule("s", "@daily", "other")
    fresh = await sql.fetchval("SELECT now() - last_tick < interval '1 minute' FROM control_plane.schedules")

    assert kept == datetime(2026, 1, 1, tzinfo=UTC)
    assert fresh is True


async def test_pause_and_resume_show_and_may_be_repeated(queue: JobQueue) -> None:
    await queue.create_schedule("s", "@hourly", "work")

    await queue.pause_schedule("s")
    (paused,) = await queue.list_schedules()
    await queue.pause_schedule("s")
    (still,) = await queue.list_schedules()
    await queue.resume_schedule("s")
    await queue.resume_schedule("s")
    (resumed,) = await queue.list_schedules()

    assert paused.paused_at is not None
    assert still.paused_at == paused.paused_at
    assert (paused.next_tick, resumed.paused_at) == (None, None)
    assert resumed.next_tick is not None


async def test_a_pause_outlives_a_repeated_create(queue: JobQueue) -> None:
    await queue.create_schedule("s", "@hourly", "work")
    await queue.pause_schedule("s")

    assert await queue.create_schedule("s", "@daily", "work") is ScheduleChange.CHANGED

    (schedule,) = await queue.list_schedules()
    assert schedule.paused_at is not None


async def test_running_by_hand_makes_one_job_now_and_no_tick(queue: JobQueue, sql: SQL) -> None:
    await queue.create_schedule("s", "@yearly", "work", {"a": 1}, queue="mail", priority=3, tags=["x"])
    await queue.pause_schedule("s")

    made = await queue.run_schedule("s")

    row = await row_of(sql, made.id)
    assert (row["type"], row["queue"], row["priority"], row["payload"]) == (
        "work",
        "mail",
        3,
        '{"a": 1, "priority": 3}',
    )
    assert row["tags"] == ["schedule:s", "x"]
    assert made.status is JobStatus.PENDING
    assert await sql.fetchval("SELECT count(*) FROM control_plane.schedule_ticks") == 0


async def test_running_by_hand_finds_the_job_that_holds_the_unique_key(queue: JobQueue, sql: SQL) -> None:
    await queue.create_schedule("s", "@yearly", "work", unique_key="one")

    first = await queue.run_schedule("s")
    second = await queue.run_schedule("s")

    assert (first.existing, second.existing, second.id) == (False, True, first.id)
    assert await count_jobs(sql) == 1


async def test_a_deleted_schedule_is_gone_and_its_name_is_free(queue: JobQueue, sql: SQL) -> None:
    await queue.create_schedule("s", "@yearly", "work")
    await queue.run_schedule("s")

    await queue.delete_schedule("s")

    assert await queue.list_schedules() == []
    assert await count_jobs(sql) == 1
    assert await queue.create_schedule("s", "@yearly", "work") is ScheduleChange.CREATED


@pytest.mark.parametrize("verb", ["pause_schedule", "resume_schedule", "delete_schedule", "run_schedule"])
async def test_a_schedule_that_does_not_exist_is_said(queue: JobQueue, verb: str) -> None:
    with pytest.raises(ScheduleNotFoundError, match="there is no schedule nightly"):
        await getattr(queue, verb)("nightly")
    with pytest.raises(ScheduleNotFoundError, match="there is no schedule nightly"):
        await asyncio.to_thread(getattr(queue.sync, verb), "nightly")
    with pytest.raises(InvalidInputError, match="name must be"):
        await getattr(queue, verb)("no name; --")


async def test_what_is_outside_of_its_limits_is_refused_before_anything_is_written(
    queue: JobQueue, sql: SQL
) -> None:
    wrong: list[dict[str, object]] = [
        {"name": "a b"},
        {"cron": "0 0 31 2 *"},
        {"timezone": "nowhere"},
        {"type": "a/b"},
        {"payload": {"big": "x" * 1024 * 1024}},
        {"missed": "never"},
        {"missed_cap": 0},
        {"delay": 5},
        {"idempotency_key": "k"},
        {"priority": -1},
    ]
    for one in wrong:
        wish: dict[str, object] = {"name": "s", "cron": "@daily", "type": "work", **one}
        with pytest.raises(InvalidInputError):
            await queue.create_schedule(**wish)  # type: ignore[arg-type]

    assert await sql.fetchval("SELECT count(*) FROM control_plane.schedules") == 0


async def test_the_clients_own_defaults_hold_but_for_what_a_tick_decides(settings: DatabaseSettings) -> None:
    options: JobQueueOptions = {"queue": "mail", "max_attempts": 7, "delay": 5}
    async with JobQueue(settings=settings, options=options) as client:
        await client.create_schedule("s", "@daily", "work", max_attempts=2)
        (schedule,) = await client.list_schedules()

    assert (schedule.queue, schedule.max_attempts) == ("mail", 2)


async def test_the_synchronous_client_does_the_same(queue: JobQueue) -> None:
    sync = queue.sync

    def verbs() -> list[object]:
        answers: list[object] = [sync.create_schedule("s", "@daily", "work", {"a": 1}, priority=2)]
        answers.append(sync.create_schedule("s", "@daily", "work", {"a": 1}, priority=2))
        sync.pause_schedule("s")
        answers.append(sync.list_schedules()[0].paused_at is not None)
        sync.resume_schedule("s")
        answers.append(sync.run_schedule("s").existing)
        sync.delete_schedule("s")
        answers.append(sync.list_schedules())
        return answers

    assert await asyncio.to_thread(verbs) == [
        ScheduleChange.CREATED,
        ScheduleChange.UNCHANGED,
        True,
        False,
        [],
    ]


def test_both_colours_have_the_same_verbs() -> None:
    names = [
        {name for name in vars(colour) if not name.startswith("_")}
        for colour in (AsyncScheduling, SyncScheduling)
    ]

    assert names[0] == names[1] != set()


async def test_a_worker_runs_the_jobs_of_a_schedule_and_the_list_shows_the_last_tick(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    runs: list[str] = []

    @queue.task
    async def work(name: str) -> None:
        runs.append(name)

    await queue.create_schedule("pulse", "@every 1s", "work", {"name": "you"})
    # No poll in time: the scheduler itself must wake the claimer.
    async with make_worker(queue, poll_interval=60):

        async def twice() -> bool:
            return len(runs) >= 2

        await until(twice, 10)
        (schedule,) = await queue.list_schedules()

    assert schedule.last_tick is not None
    assert schedule.last_job_id is not None
    job = await queue.get_job(schedule.last_job_id)
    assert job is not None
    assert job.tags[0] == "schedule:pulse"
