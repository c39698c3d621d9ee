"""Rows as people and programs read them: pure formatting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rich.text import Text

from jobplane.client.info import QueueInfo, ScheduleInfo, Unclaimable, WorkerInfo
from jobplane.job import Attempt, Job, JobStatus
from jobplane.observability.formatters import printable

_STYLES = {
    JobStatus.RUNNING: "cyan",
    JobStatus.COMPLETED: "green",
    JobStatus.FAILED: "red",
    JobStatus.CANCELLED: "yellow",
}


# -- for programs: keys that stay, ISO times, ids as strings ---------------------------------------------


def job_document(job: Job, *, payload: bool = False) -> dict[str, object]:
    """A job; what its handler was given and what it returned only when asked for, since they may be private."""
    document: dict[str, object] = {
        "id": str(job.id),
        "type": job.type,
        "status": str(job.status),
        "queue": job.queue,
        "priority": job.priority,
        "attempts": job.attempts,
        "max_attempts": job.max_attempts,
        "last_error": job.last_error,
        "progress": job.progress,
        "tags": list(job.tags),
        "unique_key": job.unique_key,
        "tenant": job.tenant,
        "worker_id": job.worker_id,
        "lease_epoch": job.lease_epoch,
        "lease_expires_at": timestamp(job.lease_expires_at),
        "cancel_requested_at": timestamp(job.cancel_requested_at),
        "created_at": timestamp(job.created_at),
        "scheduled_at": timestamp(job.scheduled_at),
        "started_at": timestamp(job.started_at),
        "completed_at": timestamp(job.completed_at),
    }
    return document | {"payload": job.payload, "result": job.result} if payload else document


def attempt_document(attempt: Attempt) -> dict[str, object]:
    """An attempt that did not complete."""
    return {
        "attempt": attempt.attempt,
        "epoch": attempt.epoch,
        "outcome": attempt.outcome,
        "error_type": attempt.error_type,
        "message": attempt.message,
        "frames": list(attempt.frames),
        "worker_id": attempt.worker_id,
        "started_at": timestamp(attempt.started_at),
        "ended_at": timestamp(attempt.ended_at),
    }


def queue_document(queue: QueueInfo) -> dict[str, object]:
    """A queue."""
    return {
        "name": queue.name,
        "due": queue.due,
        "later": queue.later,
        "estimated": queue.estimated,
        "running": queue.running,
        "workers": queue.workers,
        "slots": queue.slots,
        "oldest_due_at": timestamp(queue.oldest_due_at),
        "paused_at": timestamp(queue.paused_at),
        "max_running": queue.max_running,
    }


def unclaimable_document(found: Unclaimable) -> dict[str, object]:
    """Jobs that nobody can run."""
    return {
        "queue": found.queue,
        "type": found.type,
        "jobs": found.jobs,
        "oldest_due_at": timestamp(found.oldest_due_at),
        "estimated": found.estimated,
    }


def number_of(jobs: int, *, estimated: bool) -> str:
    """A number of jobs, that says when it is an estimate."""
    return f"~{jobs}" if estimated else str(jobs)


def worker_document(worker: WorkerInfo) -> dict[str, object]:
    """A worker."""
    return {
        "id": worker.id,
        "host": worker.host,
        "pid": worker.pid,
        "version": worker.version,
        "queues": dict(worker.queues),
        "types": list(worker.types),
        "running": worker.running,
        "started_at": timestamp(worker.started_at),
        "heartbeat_at": timestamp(worker.heartbeat_at),
        "silent_for": round(worker.silent_for, 3),
    }


def schedule_document(schedule: ScheduleInfo) -> dict[str, object]:
    """A schedule."""
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "type": schedule.type,
        "payload": schedule.payload,
        "queue": schedule.queue,
        "priority": schedule.priority,
        "max_attempts": schedule.max_attempts,
        "unique_key": schedule.unique_key,
        "tags": list(schedule.tags),
        "missed": str(schedule.missed),
        "missed_cap": schedule.missed_cap,
        "paused_at": timestamp(schedule.paused_at),
        "created_at": timestamp(schedule.created_at),
        "last_tick": timestamp(schedule.last_tick),
        "last_job_id": None if schedule.last_job_id is None else str(schedule.last_job_id),
        "next_tick": timestamp(schedule.next_tick),
    }


def timestamp(when: datetime | None) -> str | None:
    """ISO 8601 in UTC."""
    return None if when is None else when.astimezone(UTC).isoformat()


# -- for people --------------------------------------------------------------------------------------------


def status_of(job: Job) -> Text:
    """The status in its colour; a running job that is asked to stop says so."""
    words = (
        f"{job.status}, stopping"
        if job.status is JobStatus.RUNNING and job.cancel_requested_at
        else str(job.status)
    )
    return Text(words, style=_STYLES.get(job.status, ""))


def when_of(job: Job) -> str:
    """The time that matters most in this status."""
    now = datetime.now(UTC)
    match job.status:
        case JobStatus.PENDING if job.scheduled_at > now:
            return f"due in {span(job.scheduled_at - now)}"
        case JobStatus.PENDING:
            return f"due for {span(now - job.scheduled_at)}"
        case JobStatus.RUNNING if job.started_at is not None:
            return f"for {span(now - job.started_at)}"
        case _:
            return ago(job.completed_at)


def progress_of(progress: object) -> tuple[float | None, str]:
    """The fraction and message of a progress report; a report may hold anything."""
    match progress:
        case {"fraction": int() | float() as fraction, "message": str() as message}:
            return float(fraction), message
        case {"fraction": int() | float() as fraction}:
            return float(fraction), ""
        case _:
            return None, ""


def moment(when: datetime | None) -> str | None:
    """`2026-01-31 12:00:00Z (3 min ago)`."""
    if when is None:
        return None
    exact = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{exact} ({ago(when)})"


def ago(when: datetime | None) -> str:
    """`3 min ago`, `in 3 min`."""
    if when is None:
        return "-"
    passed = datetime.now(UTC) - when
    return f"{span(passed)} ago" if passed >= timedelta(0) else f"in {span(-passed)}"


def span(length: timedelta) -> str:
    """A length of time in its largest unit."""
    seconds = length.total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def attempt_lines(attempt: Attempt) -> list[str]:
    """How an attempt ended, then the error, then where it was, innermost last."""
    where = f" on {printable(attempt.worker_id)}" if attempt.worker_id else ""
    error = attempt.error_type or attempt.outcome
    return [
        f"attempt {attempt.attempt} {attempt.outcome} {moment(attempt.ended_at)}{where}",
        f"  {printable(f'{error}: {attempt.message}' if attempt.message else error)}",
        *(f"    {printable(frame)}" for frame in attempt.frames),
    ]
