"""AC1: the queue properly connects to control_plane.jobs, through a pool configured by the environment."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from urllib.parse import unquote, urlsplit

import pytest

from jobplane import ConfigurationError, JobQueue, JobStatus, SyncJobQueue
from jobplane.ids import new_job_id
from tests.factories import SQL, make_job, row_of

_VARIABLES = (
    "DATABASE_URL",
    "AUDIT_LOGS_DB_HOST",
    "AUDIT_LOGS_DB_PORT",
    "AUDIT_LOGS_DB_NAME",
    "AUDIT_LOGS_DB_USER",
)


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing about databases."""
    for name in list(os.environ):
        if name in _VARIABLES or name.startswith(("AUDIT_LOGS_DB_", "JOBPLANE_")):
            monkeypatch.delenv(name)
    return monkeypatch


def _parts_of(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    return {
        "AUDIT_LOGS_DB_HOST": parts.hostname,
        "AUDIT_LOGS_DB_PORT": str(parts.port or 5432),
        "AUDIT_LOGS_DB_NAME": parts.path.removeprefix("/"),
        "AUDIT_LOGS_DB_USER": unquote(parts.username or ""),
        "AUDIT_LOGS_DB_PASSWORD": unquote(parts.password or ""),
    }


async def test_ac1_enqueue_writes_a_row_of_control_plane_jobs(queue: JobQueue, sql: SQL) -> None:
    assert await sql.fetchval("SELECT count(*) FROM control_plane.jobs") == 0

    job = await queue.enqueue("provision_project", {"project_id": "proj-123"})

    rows = await sql.fetch("SELECT id, type, payload ->> 'project_id' AS project FROM control_plane.jobs")
    assert [tuple(row) for row in rows] == [(job.id, "provision_project", "proj-123")]


async def test_ac1_get_job_reads_a_row_of_control_plane_jobs(queue: JobQueue, sql: SQL) -> None:
    job_id = await make_job(sql, type="rotate_key", payload={"key": "k1"})

    job = await queue.get_job(job_id)

    assert job is not None
    assert (job.id, job.type, job.payload) == (job_id, "rotate_key", {"key": "k1"})


async def test_ac1_the_pool_is_configured_by_database_url(
    bare_environment: pytest.MonkeyPatch, database_url: str, sql: SQL
) -> None:
    bare_environment.setenv("DATABASE_URL", database_url)

    async with JobQueue() as queue:
        job = await queue.enqueue("rotate_key")

    assert (await row_of(sql, job.id))["type"] == "rotate_key"


async def test_ac1_the_pool_is_configured_by_audit_logs_db_variables(
    bare_environment: pytest.MonkeyPatch, database_url: str, sql: SQL
) -> None:
    for name, value in _parts_of(database_url).items():
        bare_environment.setenv(name, value)

    async with JobQueue() as queue:
        job = await queue.enqueue("rotate_key")
        same = await asyncio.to_thread(lambda: queue.sync.get_job(job.id))

    assert (await row_of(sql, job.id))["type"] == "rotate_key"
    assert same is not None


async def test_ac1_database_url_wins_over_audit_logs_db_variables(
    bare_environment: pytest.MonkeyPatch, database_url: str, sql: SQL
) -> None:
    bare_environment.setenv("DATABASE_URL", database_url)
    bare_environment.setenv("AUDIT_LOGS_DB_HOST", "nowhere.invalid")

    async with JobQueue() as queue:
        job = await queue.enqueue("rotate_key")

    assert (await row_of(sql, job.id))["type"] == "rotate_key"


async def test_ac1_without_configuration_the_error_names_both_ways(
    bare_environment: pytest.MonkeyPatch,
) -> None:
    queue = JobQueue()

    with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*AUDIT_LOGS_DB_HOST"):
        await queue.enqueue("rotate_key")
    with pytest.raises(ConfigurationError, match=r"DATABASE_URL.*AUDIT_LOGS_DB_HOST"):
        SyncJobQueue().enqueue("rotate_key")


async def test_ac1_the_pool_opens_on_first_use_and_keeps_to_its_limit(
    bare_environment: pytest.MonkeyPatch, database_url: str, sql: SQL
) -> None:
    bare_environment.setenv("DATABASE_URL", database_url)
    bare_environment.setenv("AUDIT_LOGS_DB_POOL_MAX", "3")
    backends = (
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'jobplane'"
    )

    async with JobQueue() as queue:
        assert await sql.fetchval(backends) == 0
        answers = await asyncio.gather(*(queue.get_job(new_job_id()) for _ in range(40)))
        assert await sql.fetchval(backends) == 3

    assert answers == [None] * 40


async def test_ac1_the_module_functions_share_one_queue_of_the_environment(
    bare_environment: pytest.MonkeyPatch, database_url: str, sql: SQL
) -> None:
    """In a process of its own, since the default queue belongs to the process."""
    program = """
import asyncio, json
from datetime import UTC, datetime, timedelta
from jobplane import default_queue, enqueue_job, get_job, schedule_job

async def main():
    first = await enqueue_job("provision_project", {"project_id": "p1"}, priority=7)
    second = await schedule_job("rotate_key", datetime.now(UTC) + timedelta(days=2))
    found = await get_job(first.id)
    await default_queue().close()
    print(json.dumps([str(first.id), str(second.id), found.type, found.priority]))

asyncio.run(main())
"""

    ran = await asyncio.to_thread(
        lambda: subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=True,
        )
    )

    first, second, found_type, priority = json.loads(ran.stdout)
    rows = await sql.fetch("SELECT id::text, type, status FROM control_plane.jobs ORDER BY created_at")
    assert [tuple(row) for row in rows] == [
        (first, "provision_project", JobStatus.PENDING),
        (second, "rotate_key", JobStatus.PENDING),
    ]
    assert (found_type, priority) == ("provision_project", 7)
