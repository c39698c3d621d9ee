"""Times that PostgreSQL can store and Python cannot represent, in every column of every table: all that reads survives.

A producer in SQL may write such a time by a plain INSERT, and what happens to its job copies it elsewhere.
"""

from __future__ import annotations

import asyncio
from typing import Final
from uuid import UUID

import pytest

from jobplane import DatabaseSettings, JobQueue, JobStatus, SyncJobQueue
from jobplane.cli.failures import ExitCode
from jobplane.store.database import Database
from jobplane.store.schedules import ScheduleStore
from tests.cli.commands import CommandLine
from tests.factories import SQL, make_job

TIMES: Final = ("infinity", "-infinity", "4713-01-01 BC", "0001-01-01", "294276-12-31")
READING: Final = (
    "verify",
    "verify --json",
    "history status",
    "doctor --json",
    "jobs list",
    "jobs list --json",
    "jobs show {job}",
    "jobs show {job} --json",
    "queues list",
    "queues list --json",
    "workers list",
    "workers list --json",
    "schedules list",
    "schedules list --json",
    "migrate status",
)


@pytest.mark.parametrize("time", TIMES)
async def test_every_command_and_both_clients_read_any_time_in_any_column(
    cli: CommandLine, queue: JobQueue, settings: DatabaseSettings, sql: SQL, time: str
) -> None:
    """Such a row made `jobplane verify` end with a traceback."""
    await cli.run("history", "on")
    jobs = [await make_job(sql, status) for status in JobStatus]
    await sql.execute("""
        INSERT INTO control_plane.queues (name, paused_at) VALUES ('default', now());
        INSERT INTO control_plane.workers (id, host, pid, version) VALUES ('w', 'h', 1, '1');
        INSERT INTO control_plane.schedules (name, cron, type) VALUES ('s', '@daily', 'work');
        INSERT INTO control_plane.schedules (name, cron, type, paused_at) VALUES ('t', '@daily', 'work', now());
        INSERT INTO control_plane.schedule_ticks (schedule, tick, job_id) VALUES ('s', now(), gen_random_uuid());
        INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome)
            SELECT id, 1, 1, 'failed' FROM control_plane.jobs
    """)
    columns = await sql.fetch(
        "SELECT c.relname AS name, a.attname AS column FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relkind = 'r' "
        "AND a.atttypid = 'timestamptz'::regtype AND a.attnum > 0"
    )
    for row in columns:
        await sql.execute(
            f"UPDATE control_plane.{row['name']} SET {row['column']} = '{time}' WHERE {row['column']} IS NOT NULL"
        )

    for command in READING:
        for job in jobs if "{job}" in command else jobs[:1]:
            ended = await cli.run(*command.format(job=job).split())
            assert ended.code in (ExitCode.DONE, ExitCode.REFUSED), (command, ended)
    for job in jobs:
        assert await queue.get_job(job) is not None
        assert len(await queue.list_attempts(job)) == 1
    assert len((await queue.list_jobs()).jobs) == len(jobs)
    await queue.list_queues()
    await queue.list_workers()
    await queue.list_schedules()
    await queue.list_unclaimable()
    await asyncio.to_thread(_read, settings, jobs)
    database = Database(settings)
    await ScheduleStore(database).due(5, 10)
    await database.close()
    # The one view for people.
    await sql.fetch("SELECT id, ran_for FROM control_plane.job_overview")
    assert len(columns) >= 20


def _read(settings: DatabaseSettings, jobs: list[UUID]) -> None:
    with SyncJobQueue(settings=settings) as client:
        assert len(client.list_jobs().jobs) == len(jobs)
        for job in client.list_jobs().jobs:
            assert client.get_job(job.id) == job
            client.list_attempts(job.id)
        client.list_queues()
        client.list_workers()
        client.list_schedules()
        client.list_unclaimable()
