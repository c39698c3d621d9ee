"""S7 by attack: under each role, what the guide denies is tried in SQL, and every row stays as it was.

The table of test_roles.py says which columns a role may write. This says what that is good for: which changes of a
job, of its history and of what stands beside it a role can bring about.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import pytest

from jobplane import JobQueue, JobStatus, SyncJobQueue
from jobplane.client.info import CancelResult
from jobplane.errors import JobNotFoundError
from jobplane.store import tenants
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore
from tests.factories import SQL, make_job
from tests.security.logins import Guarded, guarded_database

TABLES: Final = (
    "jobs",
    "job_attempts",
    "job_events",
    "queues",
    "workers",
    "duties",
    "schedules",
    "schedule_ticks",
    "jobplane_migrations",
)
FORGED_EVENT: Final = (
    "INSERT INTO control_plane.job_events (job_id, rev, verb, epoch, attempts, max_attempts, type, queue, priority, "
    "scheduled_at, actor) SELECT id, 99, 'complete', 1, 1, 1, 'work', 'default', 0, now(), 'me' FROM control_plane.jobs"
)
FORGED_ATTEMPT: Final = (
    "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) "
    "SELECT id, 99, 1, 'crashed' FROM control_plane.jobs"
)
UNTOUCHABLE: Final = (
    *(f"DELETE FROM control_plane.{table}" for table in TABLES if table not in ("workers", "schedules")),
    *(f"TRUNCATE control_plane.{table} CASCADE" for table in TABLES),
    "UPDATE control_plane.job_attempts SET outcome = 'failed'",
    "UPDATE control_plane.job_events SET verb = 'complete'",
    "UPDATE control_plane.jobplane_migrations SET checksum = ''",
    "UPDATE control_plane.schedule_ticks SET job_id = gen_random_uuid()",
    "INSERT INTO control_plane.schedule_ticks (schedule, tick, job_id) VALUES ('s', now(), gen_random_uuid())",
    "INSERT INTO control_plane.jobplane_migrations (version, name, checksum) VALUES (999, 'x', 'x')",
    "INSERT INTO control_plane.duties (name) VALUES ('other')",
    "ALTER TABLE control_plane.jobs DISABLE TRIGGER ALL",
    "DROP TRIGGER record_job_change ON control_plane.jobs",
    "CREATE TRIGGER mine BEFORE UPDATE ON control_plane.jobs EXECUTE FUNCTION control_plane.record_job_event()",
    "SELECT control_plane.in_tenant(gen_random_uuid())",
    "SET session_replication_role = replica",
    FORGED_EVENT,
)
"""What nobody may do who logs in as anything but the migrator."""
DENIED: Final = {
    "api": (
        *(
            f"UPDATE control_plane.jobs SET status = '{to}' WHERE status = '{before}'"
            for before in JobStatus
            for to in JobStatus
            if before != to
        ),
        "UPDATE control_plane.jobs SET max_attempts = 100, scheduled_at = now(), completed_at = now()",
        "UPDATE control_plane.jobs SET cancel_requested_at = NULL",
        "UPDATE control_plane.jobs SET lease_epoch = 0, lease_expires_at = NULL",
        "UPDATE control_plane.jobs SET result = '1'",
        "UPDATE control_plane.jobs SET payload = '{}'",
        "INSERT INTO control_plane.jobs (type, status) VALUES ('work', 'running')",
        "INSERT INTO control_plane.jobs (type, status, completed_at) VALUES ('work', 'completed', now())",
        "INSERT INTO control_plane.jobs (type, lease_epoch) VALUES ('work', 5)",
        "INSERT INTO control_plane.jobs (type, attempts) VALUES ('work', 5)",
        "INSERT INTO control_plane.jobs (type, cancel_requested_at) VALUES ('work', now())",
        "INSERT INTO control_plane.jobs (type, created_at) VALUES ('work', '2000-01-01')",
        ("INSERT INTO control_plane.jobs (id, type) SELECT id, type FROM control_plane.jobs "
        "ON CONFLICT (id) DO UPDATE SET status = 'completed'"),
        ("MERGE INTO control_plane.jobs AS job USING (SELECT 1) AS one ON true "
        "WHEN MATCHED THEN UPDATE SET status = 'completed'"),
        "SELECT id FROM control_plane.jobs FOR UPDATE",
        FORGED_ATTEMPT,
        "DELETE FROM control_plane.workers",
        "INSERT INTO control_plane.workers (id, host, pid, version) VALUES ('w2', 'h', 1, '1')",
        "UPDATE control_plane.workers SET heartbeat_at = now()",
        "UPDATE control_plane.duties SET due_at = 'infinity'",
        "UPDATE control_plane.queues SET name = 'other'",
        "INSERT INTO control_plane.queues (name, created_at) VALUES ('other', '2000-01-01')",
        "UPDATE control_plane.schedules SET name = 'other'",
        "SELECT control_plane.prune_jobs(0, 0, 0, 1000)",
        "SELECT control_plane.prune_events(0, 1000)",
        "SELECT control_plane.make_ticks('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    ),
    "worker": (
        *(
            f"UPDATE control_plane.jobs SET {column} = {column}"
            for column in (
                "id", "type", "payload", "queue", "priority", "max_attempts", "unique_key", "tags", "created_at",
                "cancel_requested_at", "retry_policy", "tenant",
            )
        ),
        "INSERT INTO control_plane.jobs (type) VALUES ('work')",
        "UPDATE control_plane.queues SET paused_at = now()",
        "UPDATE control_plane.queues SET max_running = NULL",
        "INSERT INTO control_plane.queues (name) VALUES ('other')",
        "UPDATE control_plane.schedules SET last_tick = '2000-01-01'",
        "DELETE FROM control_plane.schedules",
        "UPDATE control_plane.duties SET name = 'other'",
        "SELECT control_plane.cancel_job(gen_random_uuid())",
        "SELECT control_plane.retry_job(gen_random_uuid(), 1)",
        "SELECT control_plane.enqueue_job('work')",
    ),
    "enqueue": (
        *(f"SELECT FROM control_plane.{table}" for table in TABLES),
        "INSERT INTO control_plane.jobs (type) VALUES ('work')",
        "UPDATE control_plane.jobs SET status = 'completed'",
        "SELECT control_plane.cancel_job(gen_random_uuid())",
        "SELECT control_plane.retry_job(gen_random_uuid(), 1)",
        "SELECT control_plane.new_job_id()",
        "DELETE FROM control_plane.workers",
        "DELETE FROM control_plane.schedules",
        FORGED_ATTEMPT,
    ),
    "viewer": (
        "SELECT payload FROM control_plane.jobs",
        "INSERT INTO control_plane.jobs (type) VALUES ('work')",
        "UPDATE control_plane.jobs SET status = 'completed'",
        "SELECT control_plane.cancel_job(gen_random_uuid())",
        "DELETE FROM control_plane.workers",
        "DELETE FROM control_plane.schedules",
        FORGED_ATTEMPT,
    ),
}  # fmt: skip


@pytest.fixture
def guarded(server_url: str, template: str) -> Iterator[Guarded]:
    """A database of the test's own."""
    with guarded_database(server_url, template) as made:
        yield made


@pytest.mark.parametrize("role", DENIED)
async def test_what_the_guide_denies_a_role_is_refused_and_changes_nothing(
    guarded: Guarded, role: str
) -> None:
    """S7: no outcome, no history, no lease and no row of anybody else's."""
    await _keep_history(guarded)
    sql = await asyncpg.connect(guarded.url)
    await _one_of_everything(sql)
    before = await _contents(sql)
    login = await asyncpg.connect(guarded.url_of(role))

    done = []
    for attack in (*UNTOUCHABLE, *DENIED[role]):
        try:
            await login.execute(attack)
        except asyncpg.InsufficientPrivilegeError:
            continue
        except asyncpg.PostgresError as error:
            done.append(f"{attack}: {error}")
        else:
            done.append(attack)
    await login.close()

    assert done == []
    assert await _contents(sql) == before
    await sql.close()


async def test_the_functions_of_the_api_role_cancel_and_retry_and_do_nothing_else(guarded: Guarded) -> None:
    """S7: what may become of a job of each status, and of which columns."""
    sql = await asyncpg.connect(guarded.url)
    login = await asyncpg.connect(guarded.url_of("api"))
    cancelled: dict[str, tuple[object, set[str]]] = {}
    retried: dict[str, tuple[object, set[str]]] = {}
    for status in JobStatus:
        for verb, seen in (("cancel_job($1)", cancelled), ("retry_job($1, 1)", retried)):
            job_id = await make_job(sql, status, attempts=0 if status is JobStatus.PENDING else 1)
            before = await _job(sql, job_id)
            await login.fetch(f"SELECT control_plane.{verb}", job_id)
            after = await _job(sql, job_id)
            seen[status.value] = after["status"], {name for name in after if after[name] != before[name]}

    ended = {"status", "completed_at", "cancel_requested_at"}
    assert cancelled == {
        "pending": ("cancelled", ended),
        "running": ("running", {"cancel_requested_at"}),
        "completed": ("completed", set()),
        "failed": ("failed", set()),
        "cancelled": ("cancelled", set()),
    }
    assert {status: after for status, (after, _) in retried.items()} == {
        "pending": "pending",
        "running": "running",
        "completed": "pending",
        "failed": "pending",
        "cancelled": "pending",
    }
    assert {name for _, names in retried.values() for name in names} <= {
        "status", "completed_at", "cancel_requested_at", "max_attempts", "scheduled_at", "attempts_at_retry",
    }  # fmt: skip
    for extra in ("-1", "101", "NULL"):
        with pytest.raises(asyncpg.InvalidParameterValueError, match="extra_attempts must be from 0 to 100"):
            await login.fetch(f"SELECT control_plane.retry_job(gen_random_uuid(), {extra})")
    await login.close()
    await sql.close()


async def test_clients_of_the_api_role_cancel_and_retry_in_both_colours_and_the_history_says_so(
    guarded: Guarded,
) -> None:
    """S7, S16: the role writes no history, and yet all it does is in it."""
    await _keep_history(guarded)
    settings = guarded.settings("api")

    async with JobQueue(settings=settings) as queue:
        job = await queue.enqueue("work")
        assert await queue.cancel(job.id) is CancelResult.CANCELLED
        await queue.retry(job.id)

        def synchronous() -> None:
            with SyncJobQueue(settings=settings) as client:
                assert client.cancel(job.id) is CancelResult.CANCELLED
                client.retry(job.id, extra_attempts=2)

        await asyncio.to_thread(synchronous)
        with pytest.raises(JobNotFoundError):
            await queue.cancel(uuid4())
        found = await queue.get_job(job.id)

    sql = await asyncpg.connect(guarded.url)
    verbs = await sql.fetch("SELECT verb FROM control_plane.job_events ORDER BY rev")
    await sql.close()
    assert [row["verb"] for row in verbs] == ["enqueue", "cancel", "retry", "cancel", "retry"]
    assert found is not None
    assert (found.status, found.max_attempts) == (JobStatus.PENDING, 5)


async def test_the_functions_keep_to_the_tenant_of_their_caller(guarded: Guarded) -> None:
    """S8: they run as the owner, who sees all tenants, and must not lend that to anyone."""
    await tenants.enable(guarded.admin, guarded.prefix)
    settings = replace(guarded.settings("api"), row_security=True)

    async with (
        JobQueue(settings=settings, tenant="one") as one,
        JobQueue(settings=settings, tenant="two") as two,
    ):
        mine, theirs = await one.enqueue("work"), await two.enqueue("work")
        for verb in (one.cancel, one.retry):
            with pytest.raises(JobNotFoundError):
                await verb(theirs.id)
        assert await one.cancel(mine.id) is CancelResult.CANCELLED
        await one.retry(mine.id)
        untouched = await two.get_job(theirs.id)
    login = await asyncpg.connect(guarded.url_of("api"))
    without = await login.fetch("SELECT control_plane.cancel_job($1)", theirs.id)
    await login.close()

    assert without == [], "no tenant named: nothing is seen"
    assert untouched is not None
    assert (untouched.status, untouched.cancel_requested_at) == (JobStatus.PENDING, None)


async def _keep_history(guarded: Guarded) -> None:
    database = Database(guarded.admin)
    await HistoryStore(database).on()
    await database.close()


async def _one_of_everything(sql: SQL) -> None:
    for status in JobStatus:
        await make_job(sql, status)
    await sql.execute("INSERT INTO control_plane.queues (name, max_running) VALUES ('default', 3)")
    await sql.execute("INSERT INTO control_plane.workers (id, host, pid, version) VALUES ('w', 'h', 1, '1')")
    await sql.execute("INSERT INTO control_plane.schedules (name, cron, type) VALUES ('s', '@daily', 'work')")
    await sql.execute(
        "INSERT INTO control_plane.schedule_ticks (schedule, tick, job_id) VALUES ('s', '2020-01-01', gen_random_uuid())"
    )
    await sql.execute(
        "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) "
        "SELECT id, 1, 1, 'failed' FROM control_plane.jobs LIMIT 1"
    )


async def _contents(sql: SQL) -> dict[str, list[str]]:
    return {
        table: sorted(row[0] for row in await sql.fetch(f"SELECT t::text FROM control_plane.{table} AS t"))
        for table in TABLES
    }


async def _job(sql: SQL, job_id: UUID) -> dict[str, object]:
    row = await sql.fetchrow("SELECT * FROM control_plane.jobs WHERE id = $1", job_id)
    assert row is not None
    return dict(row)
