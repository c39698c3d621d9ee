"""The history of transitions: each change of a job is one row, with its verb and its writer, and off is off (I11)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import asyncpg
import psycopg
import pytest

from jobplane import DatabaseSettings, JobQueue, JobStatus, WorkerSettings, new_job
from jobplane.errors import SchemaError, StatementError
from jobplane.failure import ErrorReport
from jobplane.history.check import check
from jobplane.job import Claim
from jobplane.outcome import Cancelled, Completed, Failed, Outcome, Released, Rescheduled, Snoozed
from jobplane.sql import load
from jobplane.store.connecting import session_name
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore
from jobplane.store.session import WORKER_SESSION
from jobplane.store.store import Store
from tests.factories import SQL, make_job

WORKER = "host-41-0000aa"
LEASE = timedelta(seconds=45)
ERROR = ErrorReport("ValueError", "no", ())
DAY = timedelta(days=1)


@pytest.fixture
async def worker(settings: DatabaseSettings) -> AsyncIterator[Store]:
    """A worker's connections, under its name."""
    database = Database(settings, setup=WORKER_SESSION, application_name=session_name("worker", WORKER))
    yield Store(database)
    await database.close()


@pytest.fixture
async def kept(database: Database) -> HistoryStore:
    """A history that is kept."""
    store = HistoryStore(database)
    await store.on()
    return store


async def _events(sql: SQL, job_id: UUID | None = None) -> list[asyncpg.Record]:
    return await sql.fetch(
        "SELECT * FROM control_plane.job_events WHERE $1::uuid IS NULL OR job_id = $1 ORDER BY job_id, rev",
        job_id,
    )


async def _told(sql: SQL, job_id: UUID) -> list[tuple[str, str | None, str | None, str]]:
    events = await _events(sql, job_id)
    assert [event["rev"] for event in events] == list(range(1, len(events) + 1))
    return [(event["verb"], event["from_status"], event["to_status"], event["actor"]) for event in events]


async def _claimed(worker: Store, queue: JobQueue, **options: object) -> Claim:
    await queue.enqueue("work", {}, **options)  # type: ignore[arg-type]
    (claim,) = await worker.claim("default", ["work"], WORKER, LEASE, 1)
    return claim


async def test_a_life_is_told_transition_by_transition(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    job = await queue.enqueue("work", {})
    (claim,) = await worker.claim("default", ["work"], WORKER, LEASE, 1)
    await worker.renew([claim], LEASE)
    await worker.progress([(claim, '{"fraction": 1}')])
    await worker.complete([claim])
    await queue.retry(job.id)
    await queue.cancel(job.id)

    actor = "jobplane worker 41-0000aa"
    assert await _told(sql, job.id) == [
        ("enqueue", None, "pending", "jobplane"),
        ("claim", "pending", "running", actor),
        ("renew", "running", "running", actor),
        ("complete", "running", "completed", actor),
        ("retry", "completed", "pending", "jobplane"),
        ("cancel", "pending", "cancelled", "jobplane"),
    ]
    assert check(await kept.read()) == []


@pytest.mark.parametrize(
    ("outcome", "verb", "status", "attempts"),
    [
        (Completed('{"a": 1}'), "complete", "completed", 1),
        (Failed(ERROR, "failed"), "fail", "failed", 1),
        (Rescheduled(ERROR, timedelta(seconds=5), "failed"), "reschedule", "pending", 1),
        (Snoozed(timedelta(seconds=5)), "snooze", "pending", 0),
        (Released(None), "release", "pending", 0),
        (Cancelled(ERROR), "cancel", "cancelled", 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_each_outcome_has_its_verb(
    kept: HistoryStore,
    worker: Store,
    queue: JobQueue,
    sql: SQL,
    outcome: Outcome,
    verb: str,
    status: str,
    attempts: int,
) -> None:
    claim = await _claimed(worker, queue)

    await worker.finish([(claim, outcome)])

    event = (await _events(sql, claim.id))[-1]
    assert (event["verb"], event["from_status"], event["to_status"]) == (verb, "running", status)
    assert (event["epoch"], event["attempts"], event["worker_id"]) == (1, attempts, WORKER)
    assert event["lease_was"] is not None
    assert event["lease_is"] is None
    assert check(await kept.read()) == []


async def test_a_rescue_is_told_with_the_lease_that_had_ended(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    claim = await _claimed(worker, queue, max_attempts=1)
    await sql.execute("UPDATE control_plane.jobs SET lease_expires_at = now() - interval '1 s'")

    await worker.rescue()

    event = (await _events(sql, claim.id))[-1]
    assert (event["verb"], event["to_status"], event["worker_id"]) == ("rescue", "failed", WORKER)
    assert event["lease_was"] < event["at"]


async def test_a_cancellation_that_is_asked_for_is_told_and_then_its_end(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    claim = await _claimed(worker, queue)

    await queue.cancel(claim.id)
    await worker.finish([(claim, Released(None))])

    assert [told[:3] for told in await _told(sql, claim.id)][-2:] == [
        ("cancel", "running", "running"),
        ("cancel", "running", "cancelled"),
    ]
    assert check(await kept.read()) == []


async def test_a_pruned_job_leaves_its_history_behind(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    claim = await _claimed(worker, queue)
    await worker.complete([claim])

    nothing = timedelta(0)
    assert (
        await worker.prune(
            WorkerSettings(keep_completed=nothing, keep_failed=nothing, keep_cancelled=nothing)
        )
        == 1
    )

    assert (await _told(sql, claim.id))[-1][:3] == ("prune", "completed", None)
    history = await kept.read()
    assert history.whole
    assert check(history) == []


async def test_a_job_made_anew_under_its_key_counts_on(kept: HistoryStore, queue: JobQueue, sql: SQL) -> None:
    job = await queue.enqueue("work", {}, idempotency_key="once")
    await queue.cancel(job.id)
    await sql.execute("/* jobplane: job/prune */ DELETE FROM control_plane.jobs")
    again = await queue.enqueue("work", {}, idempotency_key="once")

    assert again.id == job.id
    assert [told[0] for told in await _told(sql, job.id)] == ["enqueue", "cancel", "prune", "enqueue"]
    assert check(await kept.read()) == []


async def test_enqueueing_by_copy_by_statement_by_sql_and_by_hand_is_told(
    kept: HistoryStore, queue: JobQueue, sql: SQL, database_url: str
) -> None:
    await queue.enqueue_many(new_job("work", {}) for _ in range(3000))
    async with await psycopg.AsyncConnection.connect(database_url) as caller:
        await queue.enqueue_many((new_job("work", {}) for _ in range(3)), connection=caller)
    await sql.execute("SELECT control_plane.enqueue_job('work')")
    await make_job(sql)

    events = await _events(sql)
    assert {(event["rev"], event["verb"], event["to_status"]) for event in events} == {
        (1, "enqueue", "pending")
    }
    assert len(events) == await sql.fetchval("SELECT count(*) FROM control_plane.jobs") == 3005
    history = await kept.read()
    assert history.whole
    assert check(history) == []


async def test_a_writer_that_is_not_jobplane_is_told_apart(kept: HistoryStore, sql: SQL) -> None:
    await sql.execute("SET application_name = 'psql'")
    job_id = await make_job(sql)

    await sql.execute("UPDATE control_plane.jobs SET priority = 7")
    await sql.execute("DELETE FROM control_plane.jobs")

    assert await _told(sql, job_id) == [
        ("enqueue", None, "pending", "psql"),
        ("other", "pending", "pending", "psql"),
        ("delete", "pending", None, "psql"),
    ]
    assert [type(violation).__name__ for violation in check(await kept.read())] == ["LostJob"]


async def test_progress_alone_is_no_transition(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    claim = await _claimed(worker, queue)

    await worker.progress([(claim, '{"fraction": 0.5}')])

    assert [told[0] for told in await _told(sql, claim.id)] == ["enqueue", "claim"]


async def test_a_change_that_is_rolled_back_leaves_nothing(
    kept: HistoryStore, queue: JobQueue, sql: SQL
) -> None:
    transaction = sql.transaction()
    await transaction.start()
    await queue.enqueue("work", {}, connection=sql)
    await transaction.rollback()

    assert await _events(sql) == []


async def test_callers_in_repeatable_read_and_serializable_are_told_too(
    kept: HistoryStore, queue: JobQueue, sql: SQL
) -> None:
    for isolation in ("repeatable_read", "serializable"):
        async with sql.transaction(isolation=isolation):
            job = await queue.enqueue("work", {}, connection=sql)
            await sql.execute(load("job/cancel").numbered, str(job.id))

        assert [told[0] for told in await _told(sql, job.id)] == ["enqueue", "cancel"]
    assert check(await kept.read()) == []


async def test_revisions_have_no_gap_however_many_write_at_once(
    kept: HistoryStore, queue: JobQueue, sql: SQL, database: Database
) -> None:
    job = await queue.enqueue("work", {})

    async def write() -> None:
        for _ in range(20):
            async with database.connection() as connection:
                await connection.execute("UPDATE control_plane.jobs SET priority = priority + 1")

    await asyncio.gather(*(write() for _ in range(5)))

    assert len(await _told(sql, job.id)) == 101


async def test_off_leaves_no_trigger_and_writes_nothing_more(
    kept: HistoryStore, queue: JobQueue, sql: SQL
) -> None:
    await queue.enqueue("work", {})

    await kept.off()
    await queue.enqueue("work", {})

    assert len(await _events(sql)) == 1
    triggers = "SELECT count(*) FROM pg_trigger WHERE tgname = 'record_job_change'"
    assert await sql.fetchval(triggers) == 0
    assert not await kept.is_on()


async def test_on_and_off_may_be_said_twice(kept: HistoryStore) -> None:
    since = await kept.since()
    await kept.on()
    assert await kept.since() == since

    await kept.off()
    await kept.off()
    assert await kept.since() is None


async def test_only_what_is_without_a_gap_is_read(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    """While it was off a job was claimed: the history from before must not be taken for the whole of its life."""
    job = await queue.enqueue("work", {})
    await kept.off()
    assert (await kept.read()).transitions == ()
    (claim,) = await worker.claim("default", ["work"], WORKER, LEASE, 1)
    await kept.on()
    await worker.complete([claim])

    history = await kept.read()

    assert [(item.job_id, item.verb) for item in history.transitions] == [(job.id, "complete")]
    assert not history.whole
    assert history.unbroken
    assert check(history) == []


async def test_a_history_whose_age_nobody_knows_begins_now(
    kept: HistoryStore, queue: JobQueue, sql: SQL
) -> None:
    await queue.enqueue("work", {})
    await sql.execute("COMMENT ON TRIGGER record_job_change ON control_plane.jobs IS 'mine'")

    history = await kept.read()

    assert history.transitions == ()
    assert not history.whole


async def test_transitions_past_their_retention_are_pruned_oldest_first(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    claim = await _claimed(worker, queue)
    await worker.complete([claim])
    await sql.execute(
        "UPDATE control_plane.job_events SET at = at - interval '40 days' + rev * interval '1 day'"
    )

    assert await kept.prune(38 * DAY, limit=1) == 1
    assert [event["rev"] for event in await _events(sql)] == [2, 3]
    assert await kept.prune(37.5 * DAY) == 1
    assert await kept.prune(30 * DAY, limit=0) == 0
    assert [event["rev"] for event in await _events(sql)] == [3]


async def test_what_is_about_to_be_pruned_is_not_read(
    kept: HistoryStore, worker: Store, queue: JobQueue, sql: SQL
) -> None:
    claim = await _claimed(worker, queue)
    await sql.execute(
        'COMMENT ON TRIGGER record_job_change ON control_plane.jobs IS $$history kept since "2020-01-01T00:00:00"$$'
    )
    await sql.execute("UPDATE control_plane.job_events SET at = at - interval '30 days' WHERE rev = 1")
    await worker.complete([claim])

    history = await kept.read(keep=30 * DAY)

    assert [item.rev for item in history.transitions] == [2, 3]
    assert not history.whole
    assert check(history) == []
    assert (await kept.read()).whole


async def test_rows_and_transitions_are_of_one_moment(kept: HistoryStore, queue: JobQueue, sql: SQL) -> None:
    job = await queue.enqueue("work", {})

    async with kept.snapshot() as snapshot:
        frame = await snapshot.frame()
        await queue.cancel(job.id)
        seen = [item async for item in snapshot.transitions()]

    assert [row.status for row in frame.rows] == [JobStatus.PENDING]
    assert [item.verb for item in seen] == ["enqueue"]


async def test_switching_waits_for_writers_without_making_others_wait(
    kept: HistoryStore, queue: JobQueue, sql: SQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F14: a writer that stays in its transaction holds up the switch, and the switch holds up nobody for long."""
    transaction = sql.transaction()
    await transaction.start()
    await queue.enqueue("work", {}, connection=sql)
    switching = asyncio.create_task(kept.off())

    for _ in range(5):
        await asyncio.wait_for(queue.enqueue("work", {}), 5)
    assert not switching.done()
    await transaction.commit()

    await asyncio.wait_for(switching, 20)
    assert not await kept.is_on()


async def test_a_role_that_may_only_read_can_read_it_and_cannot_switch_it(
    kept: HistoryStore, queue: JobQueue, sql: SQL, settings: DatabaseSettings, server_url: str
) -> None:
    await queue.enqueue("work", {})
    database_name = await sql.fetchval("SELECT current_database()")
    role = f"reader_{database_name[-12:]}"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'reader'")
    try:
        await sql.execute(f"GRANT USAGE ON SCHEMA control_plane TO {role}")
        await sql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA control_plane TO {role}")
        tail = (settings.url or "").rpartition("@")[2]
        reader = HistoryStore(Database(DatabaseSettings(url=f"postgresql://{role}:reader@{tail}")))

        history = await reader.read()
        with pytest.raises(StatementError, match="42501"):
            await reader.off()

        assert len(history.transitions) == len(history.rows) == 1
    finally:
        await sql.execute(f"DROP OWNED BY {role}")
        await sql.execute(f"DROP ROLE {role}")


async def test_a_database_without_the_tables_says_to_migrate(empty_database_url: str) -> None:
    store = HistoryStore(Database(DatabaseSettings(url=empty_database_url)))

    assert not await store.is_on()
    with pytest.raises(SchemaError, match="migrate up"):
        await store.on()
    with pytest.raises(SchemaError, match="migrate up"):
        await store.read()
