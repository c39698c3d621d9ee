"""Each operation of the clients as a value: a generator that yields statements and is sent their rows.

Written once, without I/O; jobplane.client.queue runs the steps with await, jobplane.client.sync without.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar, cast
from uuid import UUID

from jobplane.client.info import CancelResult, JobCounts, JobPage, QueueInfo, Unclaimable, WorkerInfo
from jobplane.client.steps import Pause, Query, Steps
from jobplane.errors import (
    AttemptsExhaustedError,
    InvalidInputError,
    JobNotFoundError,
    JobStateError,
    StatementError,
    UniqueKeyTakenError,
    WaitTimeoutError,
)
from jobplane.job import TERMINAL, Attempt, Job, JobStatus
from jobplane.limits import (
    MAX_ATTEMPTS,
    MAX_RUNNING,
    as_timedelta,
    check_key,
    check_queue,
    check_type,
    check_whole,
)
from jobplane.payload import decode_json
from jobplane.sql import SQLValue, channel
from jobplane.store.failures import is_unique_violation
from jobplane.store.rows import Row, attempt_of, job_of

T = TypeVar("T")
MAX_PAGE: Final = 100
SCAN: Final = 20_000
"""Jobs that one page looks at, at most."""
EXACT: Final = 10_000
"""Jobs that are counted one by one; beyond that, numbers are estimated."""
SAMPLE: Final = 400
"""Pages of the table that an estimate reads."""
WAIT_FIRST: Final = 0.02
WAIT_MOST: Final = 0.5
"""Seconds between two looks of wait()."""


def wake(words: Iterable[str], schema: str) -> Steps[None]:
    """Send the words of wake-ups (jobplane.wakeups) to the workers."""
    for word in words:
        yield Query("wake/notify", {"channel": channel(schema), "word": word})


def enter(tenant: str | None) -> Steps[None]:
    """Tell the server whose jobs the rest of the transaction may see; None: it does not ask."""
    if tenant is not None:
        yield Query("tenant/enter", {"tenant": tenant})


def within(tenant: str | None, steps: Steps[T]) -> Steps[T]:
    """Steps inside a caller's transaction, the tenant told first."""
    yield from enter(tenant)
    return (yield from steps)


def get_job(job_id: UUID) -> Steps[Job | None]:
    """One job, or None."""
    rows = yield Query("job/get", {"id": str(_checked_id(job_id))})
    return job_of(rows[0]) if rows else None


def get_status(job_id: UUID) -> Steps[JobStatus]:
    """Only the status. Raises JobNotFoundError."""
    rows = yield Query("job/status", {"id": str(_checked_id(job_id))})
    if not rows:
        raise JobNotFoundError(f"there is no job {job_id} (it may have been pruned)")
    return JobStatus(cast("str", rows[0]["status"]))


def wait(job_id: UUID, timeout: timedelta | float | None) -> Steps[Job]:
    """Look until the job has ended, ever less often."""
    limit = None if timeout is None else as_timedelta("timeout", timeout, "must be a timedelta or seconds")
    end = None if limit is None else time.monotonic() + limit.total_seconds()
    pause = WAIT_FIRST
    while True:
        status = yield from get_status(job_id)
        job = (yield from get_job(job_id)) if status in TERMINAL else None
        if job is not None:
            return job
        left = pause if end is None else min(pause, end - time.monotonic())
        if left <= 0:
            raise WaitTimeoutError(f"job {job_id} is still {status} after {limit}")
        yield Pause(left)
        pause = min(pause * 1.5, WAIT_MOST)


def list_jobs(
    *,
    status: JobStatus | str | None = None,
    type: str | None = None,  # noqa: A002 - the contract's word
    queue: str | None = None,
    tag: str | None = None,
    cursor: str | None = None,
    limit: int = 25,
) -> Steps[JobPage]:
    """A page of jobs, newest first."""
    limit = check_whole("limit", limit, 1, MAX_PAGE)
    if status is not None and status not in set(JobStatus):
        raise InvalidInputError("status", status, f"must be one of {', '.join(JobStatus)}")
    before = None
    if cursor is not None:
        try:
            before = str(UUID(cursor))
        except (ValueError, AttributeError, TypeError):
            raise InvalidInputError("cursor", cursor, "must be the next_cursor of an earlier page") from None
    rows = yield Query(
        "job/list",
        {
            "status": None if status is None else JobStatus(status).value,
            "type": None if type is None else check_type(type),
            "queue": None if queue is None else check_queue(queue),
            "tag": None if tag is None else check_key("tag", tag),
            "before": before,
            # One more than asked for tells whether there is a next page.
            "limit": limit + 1,
            "scan": SCAN,
        },
    )
    jobs = tuple(job_of(row) for row in rows if row["id"] is not None)
    if len(jobs) > limit:
        return JobPage(jobs[:limit], str(jobs[limit - 1].id))
    searched_to = rows[0]["searched_to"]
    return JobPage(jobs, None if searched_to is None else str(searched_to))


def list_attempts(job_id: UUID) -> Steps[list[Attempt]]:
    """The attempts of a job that did not complete, oldest first."""
    rows = yield Query("job/attempts", {"id": str(_checked_id(job_id))})
    return [attempt_of(row) for row in rows]


def retry(job_id: UUID, extra_attempts: int = 0) -> Steps[str]:
    """Run an ended job again; returns its queue, to be woken."""
    extra_attempts = check_whole("extra_attempts", extra_attempts, 0, MAX_ATTEMPTS)
    try:
        rows = yield from _change(
            "job/retry", {"id": str(_checked_id(job_id)), "extra_attempts": extra_attempts}
        )
    except StatementError as error:
        if not is_unique_violation(error):
            raise
        raise UniqueKeyTakenError(
            f"job {job_id} cannot be retried now: another unfinished job holds its unique key"
        ) from error
    if rows:
        return str(rows[0]["queue"])
    job = yield from get_job(job_id)
    if job is None:
        raise JobNotFoundError(f"there is no job {job_id} (it may have been pruned)")
    if not job.is_terminal:
        raise JobStateError(
            f"job {job_id} is {job.status}: only completed, failed or cancelled jobs can be retried"
        )
    raise AttemptsExhaustedError(
        f"job {job_id} has used {job.attempts} of {job.max_attempts} attempts: grant more with extra_attempts=1"
    )


def cancel(job_id: UUID) -> Steps[CancelResult]:
    """End a pending job, or ask for the end of a running one."""
    rows = yield from _change("job/cancel", {"id": str(_checked_id(job_id))})
    if rows:
        return CancelResult.CANCELLED if rows[0]["status"] == JobStatus.CANCELLED else CancelResult.REQUESTED
    status = yield from get_status(job_id)
    if status is JobStatus.CANCELLED:
        return CancelResult.CANCELLED
    raise JobStateError(f"job {job_id} has {status} already: it can no longer be cancelled")


def _change(verb: str, args: Mapping[str, SQLValue]) -> Steps[Sequence[Row]]:
    # Asked each time: jobplane roles may be applied while a client lives, and neither verb is called often.
    rows = yield Query("job/may_change", {})
    if rows[0]["may"]:
        return (yield Query(verb, args, once=True))
    return (yield Query(f"roles/{verb.replace('/', '_')}", args, once=True, verb=verb))


def pause_queue(name: str) -> Steps[None]:
    """Stop claims from a queue."""
    yield Query("queue/pause", {"name": check_queue(name)}, once=True)


def resume_queue(name: str) -> Steps[None]:
    """Let claims from a queue go on."""
    yield Query("queue/resume", {"name": check_queue(name)}, once=True)


def limit_queue(name: str, max_running: int | None) -> Steps[None]:
    """Let at most so many jobs of a queue run at once; None lifts the limit."""
    checked = check_queue(name)
    if max_running is not None:
        max_running = check_whole("max_running", max_running, 1, MAX_RUNNING)
    yield Query("queue/limit", {"name": checked, "max_running": max_running}, once=True)


def list_queues(alive_within: float = 60.0) -> Steps[list[QueueInfo]]:
    """All queues that have unfinished jobs, workers, or a state. `alive_within` is in seconds."""
    rows = yield Query("queue/list", {"alive_within": alive_within, "exact": EXACT, "sample": SAMPLE})
    return [QueueInfo(**cast("dict[str, str]", dict(row))) for row in rows]  # type: ignore[arg-type]


def list_workers() -> Steps[list[WorkerInfo]]:
    """All workers that have not left in order."""
    rows = yield Query("worker/list", {})
    return [
        WorkerInfo(
            **cast(  # type: ignore[arg-type]
                "dict[str, str]",
                {
                    **dict(row),
                    "queues": decode_json(cast("str", row["queues"])),
                    "types": tuple(cast("list[str]", row["types"])),
                },
            )
        )
        for row in rows
    ]


def list_unclaimable(alive_within: float = 60.0) -> Steps[list[Unclaimable]]:
    """Due jobs that no living worker can run. `alive_within` is in seconds."""
    rows = yield Query("stats/unclaimable", {"alive_within": alive_within, "exact": EXACT, "sample": SAMPLE})
    return [Unclaimable(**cast("dict[str, str]", dict(row))) for row in rows]  # type: ignore[arg-type]


def count_jobs() -> Steps[JobCounts]:
    """Jobs by status."""
    rows = yield Query("stats/counts", {"exact": EXACT, "sample": SAMPLE})
    counted = {JobStatus(cast("str", row["status"])): cast("int", row["jobs"]) for row in rows}
    estimated = (JobStatus(cast("str", row["status"])) for row in rows if row["estimated"])
    return JobCounts({status: counted[status] for status in JobStatus}, frozenset(estimated))


def _checked_id(job_id: object) -> UUID:
    if not isinstance(job_id, UUID):
        raise InvalidInputError("id", job_id, "must be a uuid.UUID")
    return job_id
