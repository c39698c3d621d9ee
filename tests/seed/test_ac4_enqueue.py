"""AC4: enqueue properly inserts records into the jobs table. The insert flow of the contract, step by step."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from jobplane import JobPayload, JobQueue, JobStatus, JobType
from tests.factories import SQL, row_of

COMPLEX: JobPayload = {
    "project": {"id": "proj-123", "name": "Zoë's Größe ☃ 𝄞", "tags": ["a", "b", ["nested", {"deep": None}]]},
    "numbers": [0, -1, 2**53 + 1, 2**200, 0.1, -1.5e-7, 1e15],
    "flags": {"yes": True, "no": False, "nothing": None},
    "empty": {"object": {}, "list": [], "text": ""},
    "text": 'quotes " and \\ and \n\t and \\u0000 spelled out',
    "": "an empty key",
}


async def test_ac4_insert_with_delay(queue: JobQueue, sql: SQL) -> None:
    result = await queue.enqueue("deliver_webhook", {"n": 1}, delay=90)

    row = await row_of(sql, result.id)
    assert row["scheduled_at"] == row["created_at"] + timedelta(seconds=90)
    assert row["status"] == "pending"


async def test_ac4_insert_with_custom_max_attempts(queue: JobQueue, sql: SQL) -> None:
    result = await queue.enqueue("deliver_webhook", max_attempts=7)

    assert (await row_of(sql, result.id))["max_attempts"] == 7


async def test_ac4_insert_with_priority(queue: JobQueue, sql: SQL) -> None:
    result = await queue.enqueue("deliver_webhook", {"url": "x"}, priority=10)

    row = await row_of(sql, result.id)
    assert json.loads(row["payload"]) == {"url": "x", "priority": 10}
    assert row["priority"] == 10


async def test_ac4_insert_without_priority_leaves_the_payload_alone(queue: JobQueue, sql: SQL) -> None:
    result = await queue.enqueue("deliver_webhook", {"url": "x"})

    row = await row_of(sql, result.id)
    assert json.loads(row["payload"]) == {"url": "x"}
    assert row["priority"] == 0


async def test_ac4_default_values(queue: JobQueue, sql: SQL) -> None:
    result = await queue.enqueue("auto_suspend")

    row = await row_of(sql, result.id)
    assert (row["payload"], row["status"], row["attempts"], row["max_attempts"]) == ("{}", "pending", 0, 3)
    assert (row["last_error"], row["started_at"], row["completed_at"]) == (None, None, None)
    assert row["scheduled_at"] == row["created_at"]
    assert (row["queue"], row["priority"], row["lease_epoch"]) == ("default", 0, 0)


async def test_ac4_complex_json_payloads_come_back_as_they_went_in(queue: JobQueue) -> None:
    result = await queue.enqueue("export_backup", COMPLEX)

    job = await queue.get_job(result.id)
    assert job is not None
    assert job.payload == COMPLEX


async def test_ac4_schedule_returns_and_stores_the_due_time(queue: JobQueue, sql: SQL) -> None:
    due = datetime.now(UTC) + timedelta(days=300)

    result = await queue.schedule("check_usage_limits", due, {"a": 1}, max_attempts=1, priority=2)

    row = await row_of(sql, result.id)
    assert (result.scheduled_at, row["scheduled_at"]) == (due, due)
    assert (row["max_attempts"], row["priority"]) == (1, 2)


async def test_ac4_each_call_makes_a_job_of_its_own(queue: JobQueue, sql: SQL) -> None:
    results = [await queue.enqueue("rotate_key", {"same": True}) for _ in range(3)]

    assert len({result.id for result in results}) == 3
    assert await sql.fetchval("SELECT count(*) FROM control_plane.jobs") == 3
    assert not any(result.existing for result in results)


@pytest.mark.parametrize("job_type", JobType)
async def test_ac4_every_type_of_the_control_plane_is_accepted(
    queue: JobQueue, sql: SQL, job_type: JobType
) -> None:
    result = await queue.enqueue(job_type)

    assert (await row_of(sql, result.id))["type"] == job_type.value
    assert result.type == job_type.value


async def test_ac4_the_created_jobs_metadata_is_returned(queue: JobQueue) -> None:
    result = await queue.enqueue("rotate_key")

    assert isinstance(result.id, UUID)
    assert (result.type, result.status) == ("rotate_key", JobStatus.PENDING)
    assert result.scheduled_at.tzinfo is not None
    assert result.created_at.tzinfo is not None
