"""The state machine as data is the one that I11 promises, and the words of the queue are plain values."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import product

import pytest

from jobplane.ids import new_job_id
from jobplane.job import TERMINAL, TRANSITIONS, Job, JobStatus, may_follow

PENDING, RUNNING = JobStatus.PENDING, JobStatus.RUNNING
COMPLETED, FAILED, CANCELLED = JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED

I11 = {
    (PENDING, RUNNING),
    (RUNNING, COMPLETED),
    (RUNNING, FAILED),
    (RUNNING, PENDING),
    (RUNNING, CANCELLED),
    (PENDING, CANCELLED),
}
RETRIES = {(COMPLETED, PENDING), (FAILED, PENDING), (CANCELLED, PENDING)}


@pytest.mark.parametrize(("before", "after"), list(product(JobStatus, JobStatus)))
def test_a_status_follows_another_exactly_where_i11_or_an_explicit_retry_says(
    before: JobStatus, after: JobStatus
) -> None:
    assert may_follow(before, after) is ((before, after) in I11 | RETRIES)


def test_terminal_is_final_but_for_an_explicit_retry() -> None:
    """I10."""
    leaving = {verb for verb, (sources, _) in TRANSITIONS.items() if sources & TERMINAL}

    assert leaving == {"retry"}
    assert TRANSITIONS["retry"] == (TERMINAL, frozenset({PENDING}))
    assert frozenset({COMPLETED, FAILED, CANCELLED}) == TERMINAL


def test_every_job_starts_as_pending() -> None:
    assert TRANSITIONS["enqueue"] == (frozenset(), frozenset({PENDING}))


def test_every_status_can_be_reached_and_left() -> None:
    reached = frozenset().union(*(targets for _, targets in TRANSITIONS.values()))
    left = frozenset().union(*(sources for sources, _ in TRANSITIONS.values()))

    assert reached == left == frozenset(JobStatus)


def test_only_a_claim_leads_to_running() -> None:
    assert [verb for verb, (_, targets) in TRANSITIONS.items() if RUNNING in targets] == ["claim"]


def _job(status: JobStatus) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=new_job_id(),
        type="t",
        payload={"password": "canary"},
        status=status,
        attempts=0,
        max_attempts=3,
        last_error=None,
        scheduled_at=now,
        started_at=None,
        completed_at=None,
        created_at=now,
        queue="default",
        priority=0,
        lease_epoch=0,
        lease_expires_at=None,
        worker_id=None,
        unique_key=None,
        tags=(),
        result={"token": "canary"},
    )


@pytest.mark.parametrize("status", JobStatus)
def test_a_job_knows_whether_it_has_ended(status: JobStatus) -> None:
    assert _job(status).is_terminal is (status in TERMINAL)


def test_a_printed_job_shows_neither_payload_nor_result() -> None:
    assert "canary" not in repr(_job(COMPLETED))


def test_a_job_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        _job(PENDING).status = COMPLETED  # type: ignore[misc]
