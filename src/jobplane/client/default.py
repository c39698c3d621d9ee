"""The seed's functions: enqueue_job, schedule_job and get_job on one queue for the whole process.

That queue opens its pool on first use, from DATABASE_URL or the AUDIT_LOGS_DB_* variables.
"""

from __future__ import annotations

from datetime import datetime
from typing import Unpack
from uuid import UUID

from jobplane.client.queue import JobQueue
from jobplane.client.tasks import TaskDecorator
from jobplane.job import EnqueueJobResult, Job, JobPayload
from jobplane.options import JobQueueOptions, ScheduleOptions

_default = JobQueue()


def default_queue() -> JobQueue:
    """The queue behind the functions of this module and behind `@task`."""
    return _default


async def enqueue_job(
    type: str,  # noqa: A002 - the contract's word
    payload: JobPayload | None = None,
    *,
    connection: object = None,
    notify: bool = False,
    **options: Unpack[JobQueueOptions],
) -> EnqueueJobResult:
    """JobQueue.enqueue on the process's default queue."""
    return await _default.enqueue(type, payload, connection=connection, notify=notify, **options)


async def schedule_job(
    type: str,  # noqa: A002 - the contract's word
    scheduled_at: datetime,
    payload: JobPayload | None = None,
    *,
    connection: object = None,
    notify: bool = False,
    **options: Unpack[ScheduleOptions],
) -> EnqueueJobResult:
    """JobQueue.schedule on the process's default queue."""
    return await _default.schedule(
        type, scheduled_at, payload, connection=connection, notify=notify, **options
    )


async def get_job(job_id: UUID) -> Job | None:
    """JobQueue.get_job on the process's default queue."""
    return await _default.get_job(job_id)


task = TaskDecorator(default_queue, _default.registry, run=False)
"""`@task` makes a task of the default queue. A worker finds it as a name of the module that it is pointed at."""
