"""AC2: database operations (insert, select) work correctly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from jobplane import EnqueueJobResult, Job, JobPayload, JobQueue, JobStatus, JobType
from tests.factories import SQL, count_jobs, make_job, row_of


async def test_ac2_insert_generates_a_uuid_and_returns_the_metadata_of_the_row(
    queue: JobQueue, sql: SQL
) -> None:
    result = await queue.enqueue(JobType.PROVISION_PROJECT, {"project_id": "p"})

    row = await row_of(sql, result.id)
    assert isinstance(result, EnqueueJobResult)
    assert type(result.id) is UUID
    assert result == EnqueueJobResult(
        id=result.id,
        type="provision_project",
        status=JobStatus.PENDING,
        scheduled_at=row["scheduled_at"],
        created_at=row["created_at"],
    )


async def test_ac2_insert_calculates_scheduled_at_from_the_delay(queue: JobQueue, sql: SQL) -> None:
    result = await queue.enqueue("rotate_key", delay=timedelta(minutes=5))

    row = await row_of(sql, result.id)
    assert row["scheduled_at"] - row["created_at"] == timedelta(minutes=5)
    assert result.scheduled_at == row["scheduled_at"]


async def test_ac2_insert_merges_the_priority_into_the_payload(queue: JobQueue, sql: SQL) -> None:
    given: JobPayload = {"project_id": "p", "priority": 1}

    result = await queue.enqueue("rotate_key", given, priority=9)

    row = await row_of(sql, result.id)
    assert await sql.fetchval(
        "SELECT $1::jsonb = $2::jsonb", row["payload"], '{"project_id": "p", "priority": 9}'
    )
    assert row["priority"] == 9
    assert given == {"project_id": "p", "priority": 1}, "the caller's own object stays as it was"


async def test_ac2_schedule_inserts_at_the_given_time(queue: JobQueue, sql: SQL) -> None:
    due = datetime.now(UTC) + timedelta(days=30)

    result = await queue.schedule("export_backup", due, {"full": True})

    assert result.scheduled_at == due
    assert (await row_of(sql, result.id))["scheduled_at"] == due


async def test_ac2_select_returns_the_complete_job(queue: JobQueue, sql: SQL) -> None:
    job_id = await make_job(
        sql,
        JobStatus.FAILED,
        type="deliver_webhook",
        payload={"url": "https://example.com", "priority": 3},
        attempts=3,
        last_error="ConnectionError: refused",
    )

    job = await queue.get_job(job_id)

    row = await row_of(sql, job_id)
    assert isinstance(job, Job)
    contract = ("id", "type", "attempts", "max_attempts", "last_error")
    times = ("scheduled_at", "started_at", "completed_at", "created_at")
    for name in contract + times:
        assert getattr(job, name) == row[name], name
    assert job.payload == {"url": "https://example.com", "priority": 3}
    assert job.status is JobStatus.FAILED


async def test_ac2_select_of_an_unknown_id_is_none(queue: JobQueue, sql: SQL) -> None:
    await make_job(sql)

    assert await queue.get_job(uuid4()) is None
    assert await count_jobs(sql) == 1


async def test_ac2_values_are_parameters_never_sql(queue: JobQueue, sql: SQL) -> None:
    hostile = "'); DROP TABLE control_plane.jobs; --"

    result = await queue.enqueue("rotate_key", {hostile: hostile}, unique_key=hostile, tags=[hostile])

    job = await queue.get_job(result.id)
    assert job is not None
    assert (job.payload, job.unique_key, job.tags) == ({hostile: hostile}, hostile, (hostile,))
    assert await count_jobs(sql) == 1
