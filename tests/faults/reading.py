"""What the database knows of a run, as the checker takes it."""

from __future__ import annotations

import asyncpg

from jobplane.history.record import Call, Execution, History, Profile, Row, Transition
from jobplane.job import JobStatus
from jobplane.store.rows import as_uuid


async def read_history(
    sql: asyncpg.Connection[asyncpg.Record],
    calls: tuple[Call, ...],
    executions: tuple[Execution, ...],
    profile: Profile,
    *,
    settled: bool,
) -> History:
    """Transitions and rows of one snapshot, with what the journals say."""
    async with sql.transaction(isolation="repeatable_read", readonly=True):
        now = await sql.fetchval("SELECT now()")
        events = await sql.fetch("SELECT * FROM control_plane.job_events ORDER BY job_id, rev")
        rows = await sql.fetch("SELECT * FROM control_plane.jobs")
    return History(
        transitions=tuple(
            Transition(
                job_id=as_uuid(event["job_id"]),
                rev=event["rev"],
                verb=event["verb"],
                before=None if event["from_status"] is None else JobStatus(event["from_status"]),
                after=None if event["to_status"] is None else JobStatus(event["to_status"]),
                epoch=event["epoch"],
                attempts=event["attempts"],
                max_attempts=event["max_attempts"],
                type=event["type"],
                queue=event["queue"],
                priority=event["priority"],
                unique_key=event["unique_key"],
                scheduled_at=event["scheduled_at"],
                lease_was=event["lease_was"],
                lease_is=event["lease_is"],
                worker_id=event["worker_id"],
                actor=event["actor"],
                at=event["at"],
            )
            for event in events
        ),
        rows=tuple(
            Row(
                job_id=as_uuid(row["id"]),
                status=JobStatus(row["status"]),
                attempts=row["attempts"],
                max_attempts=row["max_attempts"],
                epoch=row["lease_epoch"],
                queue=row["queue"],
                unique_key=row["unique_key"],
                scheduled_at=row["scheduled_at"],
                lease_expires_at=row["lease_expires_at"],
            )
            for row in rows
        ),
        now=now,
        calls=calls,
        executions=executions,
        profile=profile,
        whole=True,
        settled=settled,
    )
