"""Schedules at the level of their rows: each tick once, by any number of schedulers (I17), under a clock that tests set."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobplane import DatabaseSettings, JobQueue, Missed
from jobplane.events import Events, ScheduleTicked, ServiceFailed
from jobplane.schedule import decide
from jobplane.store.database import Database
from jobplane.store.schedules import ScheduleStore
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from jobplane.worker.maintenance.scheduler import Scheduler
from tests.factories import SQL, count_jobs
from tests.support import Recorder

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


class Clock:
    """The database's time, as the statements of these tests read it."""

    def __init__(self, sql: SQL) -> None:
        self._sql = sql

    async def set(self, at: datetime) -> None:
        """It is this time now."""
        await self._sql.execute("UPDATE public.test_clock SET at = $1", at)


@pytest.fixture
async def clock(sql: SQL) -> Clock:
    """A clock that stands at noon."""
    await sql.execute("CREATE TABLE public.test_clock AS SELECT '2026-01-01 12:00:00+00'::timestamptz AS at")
    await sql.execute(
        "CREATE FUNCTION public.test_now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM public.test_clock'"
    )
    return Clock(sql)


@pytest.fixture
async def databases(settings: DatabaseSettings, clock: Clock) -> AsyncIterator[list[Database]]:
    """Five schedulers' databases, on the test's clock."""
    databases = [Database(settings, setup=WORKER_SESSION, clock="public.test_now()") for _ in range(5)]
    yield databases
    for database in databases:
        await database.close()


@pytest.fixture
def schedules(databases: list[Database]) -> list[ScheduleStore]:
    """What five schedulers ask."""
    return [ScheduleStore(database) for database in databases]


def scheduler(database: Database, events: Events | None = None) -> Scheduler:
    """One scheduler, whose steps a test takes itself."""
    return Scheduler(ScheduleStore(database), Store(database), events or Events())


async def create(
    sql: SQL,
    client: JobQueue,
    name: str = "s",
    cron: str = "@every 1s",
    **options: object,
) -> None:
    """A schedule that was made at noon."""
    await client.create_schedule(name, cron, "work", {"a": 1}, **options)  # type: ignore[arg-type]
    await sql.execute(
        "UPDATE control_plane.schedules SET last_tick = $2, look_at = $2, created_at = $2 WHERE name = $1",
        name,
        NOON,
    )


async def ticks(sql: SQL, name: str = "s") -> list[datetime]:
    """The ticks that were made, in order."""
    rows = await sql.fetch(
        "SELECT tick FROM control_plane.schedule_ticks WHERE schedule = $1 ORDER BY tick", name
    )
    return [row["tick"] for row in rows]


async def test_a_tick_makes_a_job_as_the_schedule_says_due_at_the_tick(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue, cron="* * * * *", queue="mail", priority=7, max_attempts=9, tags=["x"])
    events = Events()
    recorder = Recorder(events, ScheduleTicked)
    await clock.set(NOON + MINUTE + SECOND)

    pause = await scheduler(databases[0], events).run_once()

    job = await sql.fetchrow("SELECT * FROM control_plane.jobs")
    assert job is not None
    assert (job["type"], job["queue"], job["priority"], job["max_attempts"]) == ("work", "mail", 7, 9)
    assert (job["payload"], job["scheduled_at"]) == ('{"a": 1, "priority": 7}', NOON + MINUTE)
    assert job["tags"] == ["schedule:s", "tick:2026-01-01T12:01:00Z", "x"]
    tick = await sql.fetchrow("SELECT * FROM control_plane.schedule_ticks")
    assert tick is not None
    assert (tick["schedule"], tick["tick"], tick["job_id"]) == ("s", NOON + MINUTE, job["id"])
    assert [(event.schedule, event.tick, event.job_id) for event in recorder.of(ScheduleTicked)] == [
        ("s", NOON + MINUTE, job["id"])
    ]
    assert pause == 1.0, "the next tick is further away than the next look"


async def test_a_scheduler_sleeps_until_the_next_tick(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue)
    await clock.set(NOON + timedelta(seconds=3.75))
    one = scheduler(databases[0])

    first = await one.run_once()
    second = await one.run_once()

    assert await ticks(sql) == [NOON + number * SECOND for number in (1, 2, 3)]
    assert 0 < first <= 0.25
    assert 0 < second <= 0.25


async def test_five_schedulers_at_once_make_each_tick_once(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    """I17; seeded bug 10: without the unique (schedule, tick) each of them would make its own job."""
    names = [f"s{number}" for number in range(8)]
    for name in names:
        await create(sql, queue, name)
    five = [scheduler(database) for database in databases]

    for second in range(1, 31):
        await clock.set(NOON + second * SECOND)
        await asyncio.gather(*(one.run_once() for one in five))

    for name in names:
        assert await ticks(sql, name) == [NOON + number * SECOND for number in range(1, 31)]
    assert await count_jobs(sql) == 8 * 30
    assert await sql.fetchval("SELECT count(DISTINCT job_id) FROM control_plane.schedule_ticks") == 8 * 30


async def test_what_another_made_meanwhile_is_not_made_again(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    """The same decision, sent by all five at the same moment, again and again."""
    await create(sql, queue)
    for second in range(1, 11):
        await clock.set(NOON + second * SECOND)
        (look,) = await schedules[0].due(1.0, 100)
        decision = decide(look.watched, look.now)

        made = await asyncio.gather(*(one.tick([decision]) for one in schedules))

        assert [ticked.tick for several in made for ticked in several] == [NOON + second * SECOND]
    assert await count_jobs(sql) == 10


async def test_a_decision_of_long_ago_changes_nothing(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    """A scheduler that was stopped (SIGSTOP) between looking and making."""
    await create(sql, queue)
    await clock.set(NOON + SECOND)
    (look,) = await schedules[0].due(1.0, 100)
    stale = decide(look.watched, look.now)
    await clock.set(NOON + 5 * SECOND)
    (look,) = await schedules[1].due(1.0, 100)
    await schedules[1].tick([decide(look.watched, look.now)])
    await sql.execute("DELETE FROM control_plane.schedule_ticks")  # as if pruned

    assert await schedules[0].tick([stale]) == []
    assert await sql.fetchval("SELECT last_tick FROM control_plane.schedules") == NOON + 5 * SECOND
    assert await count_jobs(sql) == 5


async def test_a_slower_decision_to_skip_hides_no_tick_of_a_quicker_one(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    """Two schedulers come up after an outage; the second looks a second later, before the first has written."""
    await create(sql, queue, missed=Missed.SKIP)
    await clock.set(NOON + 600 * SECOND)
    (look,) = await schedules[0].due(1.0, 100)
    first = decide(look.watched, look.now)
    await clock.set(NOON + 601 * SECOND)
    (look,) = await schedules[1].due(1.0, 100)
    second = decide(look.watched, look.now)

    await schedules[0].tick([first])
    await schedules[1].tick([second])
    (look,) = await schedules[2].due(1.0, 100)
    await schedules[2].tick([decide(look.watched, look.now)])

    assert await ticks(sql) == [NOON + 601 * SECOND], "someone was up at that tick"


async def test_no_tick_comes_from_the_future_whatever_a_scheduler_thinks(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    """I21: only the database's clock counts."""
    await create(sql, queue)
    await clock.set(NOON + SECOND)
    (look,) = await schedules[0].due(1.0, 100)
    mistaken = decide(look.watched, look.now + timedelta(seconds=20))
    assert len(mistaken.ticks) == 21

    made = await schedules[0].tick([mistaken])

    assert [ticked.tick for ticked in made] == [NOON + SECOND]


@pytest.mark.parametrize("missed", Missed)
async def test_a_paused_schedule_makes_nothing_and_makes_nothing_up(
    schedules: list[ScheduleStore],
    databases: list[Database],
    clock: Clock,
    sql: SQL,
    queue: JobQueue,
    missed: Missed,
) -> None:
    await create(sql, queue, missed=missed)
    await clock.set(NOON + SECOND)
    (look,) = await schedules[0].due(1.0, 100)
    decision = decide(look.watched, look.now)

    await queue.pause_schedule("s")

    assert await schedules[0].tick([decision]) == []
    assert await schedules[0].due(1.0, 100) == []
    await databases[0].fetch(databases[0].statement("schedule/pause"), {"name": "s"})
    await clock.set(NOON + timedelta(hours=1))
    await databases[0].fetch(databases[0].statement("schedule/resume"), {"name": "s"})
    await scheduler(databases[0]).run_once()
    assert await ticks(sql) == []
    await clock.set(NOON + timedelta(hours=1) + SECOND)
    await scheduler(databases[0]).run_once()
    assert await ticks(sql) == [NOON + timedelta(hours=1) + SECOND]


async def test_a_decision_on_an_older_version_of_the_schedule_is_refused(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue)
    await clock.set(NOON + SECOND)
    (look,) = await schedules[0].due(1.0, 100)
    decision = decide(look.watched, look.now)
    await sql.execute("UPDATE control_plane.schedules SET revision = revision + 1")

    assert await schedules[0].tick([decision]) == []
    assert await count_jobs(sql) == 0


async def test_a_deleted_schedule_takes_its_ticks_with_it_and_leaves_its_jobs(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue)
    await clock.set(NOON + SECOND)
    (look,) = await schedules[0].due(1.0, 100)
    decision = decide(look.watched, look.now)
    await schedules[0].tick([decision])

    await queue.delete_schedule("s")

    assert (await ticks(sql), await count_jobs(sql)) == ([], 1)
    assert await schedules[0].tick([decision]) == []


async def test_a_tick_makes_no_job_while_an_unfinished_one_has_the_unique_key(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    """I15."""
    await create(sql, queue, unique_key="one")
    events = Events()
    recorder = Recorder(events, ScheduleTicked)
    one = scheduler(databases[0], events)
    await clock.set(NOON + 3 * SECOND)
    await one.run_once()
    assert (len(await ticks(sql)), await count_jobs(sql)) == (3, 1)
    assert sorted(event.job_id is None for event in recorder.of(ScheduleTicked)) == [False, True, True]

    await sql.execute("UPDATE control_plane.jobs SET status = 'completed'")
    await clock.set(NOON + 4 * SECOND)
    await one.run_once()
    assert (len(await ticks(sql)), await count_jobs(sql)) == (4, 2)


@pytest.mark.parametrize(
    ("missed", "cap", "made"),
    [(Missed.SKIP, 100, 0), (Missed.LATEST, 100, 1), (Missed.ALL, 100, 100), (Missed.ALL, 1000, 600)],
)
async def test_after_ten_minutes_without_a_scheduler_the_policy_decides(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue, missed: Missed, cap: int, made: int
) -> None:
    """F23: skip 0, latest 1, all = min(n, cap); five schedulers come up at once."""
    await create(sql, queue, missed=missed, missed_cap=cap)
    await clock.set(NOON + timedelta(minutes=10))

    await asyncio.gather(*(scheduler(database).run_once() for database in databases))

    end = NOON + timedelta(minutes=10)
    assert await ticks(sql) == [end - number * SECOND for number in reversed(range(made))]
    assert await count_jobs(sql) == made
    await clock.set(end + SECOND)
    await asyncio.gather(*(scheduler(database).run_once() for database in databases))
    assert (await ticks(sql))[-1] == end + SECOND
    assert await count_jobs(sql) == made + 1


async def test_more_schedules_than_fit_into_one_statement_are_made_one_batch_after_the_other(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await sql.execute(
        "INSERT INTO control_plane.schedules (name, cron, type, last_tick, look_at) "
        "SELECT 's' || n, '* * * * *', 'work', $1, $1 FROM generate_series(1, 250) AS n",
        NOON,
    )
    await clock.set(NOON + MINUTE)
    one = scheduler(databases[0])

    pauses = [await one.run_once() for _ in range(3)]

    assert pauses[:2] == [0.0, 0.0]
    assert await count_jobs(sql) == 250


async def test_a_schedule_with_a_zone_that_is_unknown_here_does_not_hold_up_the_others(
    databases: list[Database], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue, "lost")
    await create(sql, queue, "fine")
    await sql.execute("UPDATE control_plane.schedules SET timezone = 'Mars/Olympus' WHERE name = 'lost'")
    events = Events()
    recorder = Recorder(events, ServiceFailed)
    await clock.set(NOON + SECOND)

    pause = await scheduler(databases[0], events).run_once()

    assert (await ticks(sql, "fine"), await ticks(sql, "lost")) == ([NOON + SECOND], [])
    (failure,) = recorder.of(ServiceFailed)
    assert failure.service == "schedule lost"
    assert "Mars/Olympus" in str(failure.error)
    assert pause > 0.5


async def test_old_ticks_are_pruned_but_never_the_newest_of_a_schedule(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue, "busy")
    await create(sql, queue, "rare")
    await sql.execute(
        "INSERT INTO control_plane.schedule_ticks (schedule, tick, job_id) "
        "SELECT 'busy', $1::timestamptz - n * interval '1 day', gen_random_uuid() FROM generate_series(0, 59) AS n "
        "UNION ALL SELECT 'rare', $1::timestamptz - interval '300 days', gen_random_uuid()",
        NOON,
    )
    keep = timedelta(days=30)

    assert await schedules[0].prune(keep, limit=20) == 20
    assert await schedules[0].prune(keep, limit=20) == 9
    assert await schedules[0].prune(keep, limit=20) == 0

    assert min(await ticks(sql, "busy")) == NOON - keep
    assert len(await ticks(sql, "rare")) == 1


async def test_a_repeated_decision_of_the_same_moment_keeps_the_next_look(
    schedules: list[ScheduleStore], clock: Clock, sql: SQL, queue: JobQueue
) -> None:
    await create(sql, queue, cron="*/5 * * * *")
    (look,) = await schedules[0].due(1.0, 100)
    decision = decide(look.watched, look.now)
    assert decision.ticks == ()

    await schedules[0].tick([decision])
    await schedules[1].tick([replace(decision)])

    assert await sql.fetchval("SELECT look_at FROM control_plane.schedules") == NOON + 5 * MINUTE
    assert await sql.fetchval("SELECT last_tick FROM control_plane.schedules") == NOON
