"""The state machine as data is the one that I11 promises, and the words of the queue are plain values."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, datetime, timedelta
from itertools import product

import msgspec
import pytest

from jobplane.ids import new_job_id
from jobplane.job import (
    TERMINAL,
    TRANSITIONS,
    Attempt,
    Claim,
    EnqueueJobResult,
    Job,
    JobStatus,
    JobType,
    NewJob,
    may_follow,
    tags_of,
)

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


def test_each_verb_leads_from_and_to_what_the_picture_of_a_jobs_life_shows() -> None:
    """docs/design/state_machine.md draws it; said once more here, so that a slip in the table is seen."""
    every = frozenset({COMPLETED, FAILED, CANCELLED})

    assert dict(TRANSITIONS) == {
        "enqueue": (frozenset(), frozenset({PENDING})),
        "claim": (frozenset({PENDING}), frozenset({RUNNING})),
        "complete": (frozenset({RUNNING}), frozenset({COMPLETED})),
        "fail": (frozenset({RUNNING}), frozenset({FAILED})),
        "reschedule": (frozenset({RUNNING}), frozenset({PENDING})),
        "snooze": (frozenset({RUNNING}), frozenset({PENDING})),
        "release": (frozenset({RUNNING}), frozenset({PENDING, FAILED})),
        "rescue": (frozenset({RUNNING}), frozenset({PENDING, FAILED, CANCELLED})),
        "cancel": (frozenset({PENDING, RUNNING}), frozenset({CANCELLED})),
        "retry": (every, frozenset({PENDING})),
    }


def test_statuses_and_types_are_the_words_that_stand_in_the_rows() -> None:
    assert {status.name.lower() for status in JobStatus} == {str(status) for status in JobStatus}
    assert {kind.name.lower() for kind in JobType} == {str(kind) for kind in JobType}


def test_a_wish_of_which_nothing_is_said_is_due_now_in_the_default_queue_three_times_at_most() -> None:
    wish = NewJob(new_job_id(), "t", "{}")

    assert (wish.queue, wish.priority, wish.max_attempts, wish.delay) == ("default", 0, 3, timedelta(0))
    assert (wish.scheduled_at, wish.unique_key, wish.tags, wish.retry_policy) == (None, None, None, None)
    with pytest.raises(AttributeError):
        wish.queue = "other"  # type: ignore[misc]


def test_an_answer_is_new_unless_it_says_that_the_job_was_there() -> None:
    now = datetime.now(UTC)
    answer = EnqueueJobResult(new_job_id(), "t", PENDING, now, now)

    assert not answer.existing
    with pytest.raises(FrozenInstanceError):
        answer.existing = True  # type: ignore[misc]


def test_a_claim_that_nobody_dated_is_ours_no_longer() -> None:
    now = datetime.now(UTC)
    claim = Claim(new_job_id(), "t", "{}", 1, 3, 1, "default", 0, now, now, now, None, (), None, None)

    assert claim.lease_ends == 0.0


def test_an_attempt_cannot_be_changed() -> None:
    attempt = Attempt(new_job_id(), 1, 1, "failed", "E", "m", (), "w", None, datetime.now(UTC))

    with pytest.raises(FrozenInstanceError):
        attempt.outcome = "crashed"  # type: ignore[misc]


def test_a_job_is_made_by_names_not_by_places() -> None:
    """Columns are added in the middle now and then."""
    with pytest.raises(TypeError):
        Job(new_job_id(), "t", {}, PENDING)  # type: ignore[call-arg]


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


def test_a_wish_and_a_claim_show_what_they_are_but_not_their_payload() -> None:
    job_id = new_job_id()
    now = datetime.now(UTC)
    wish = NewJob(job_id, "work", '{"secret": 1}', queue="q")
    claim = Claim(job_id, "work", '{"secret": 1}', 2, 3, 4, "q", 0, now, now, now, None, (), None, None)

    assert repr(wish) == f"NewJob(id={job_id!r}, type='work', queue='q')"
    assert repr(claim) == f"Claim(id={job_id!r}, type='work', queue='q', epoch=4, attempt=2 of 3)"
    assert claim.crashes == 0


@pytest.mark.parametrize(
    ("column", "tags"),
    [
        ([], ()),
        (["a", "b"], ("a", "b")),
        (["a", None], ("a",)),
        ([["a", "b"], [None, "c"]], ("a", "b", "c")),
    ],
)
def test_tags_are_the_texts_of_a_column_whatever_a_foreign_producer_put_there(
    column: list[object], tags: tuple[str, ...]
) -> None:
    assert tags_of(column) == tags


@pytest.mark.parametrize(
    "rare",
    [
        {"fresh": False},
        {"delay": timedelta(seconds=1)},
        {"scheduled_at": datetime.now(UTC)},
        {"unique_key": "k"},
        {"tags": ()},
        {"retry_policy": "{}"},
        {"tenant": "acme"},
    ],
    ids=lambda rare: next(iter(rare)),
)
def test_a_job_is_plain_as_long_as_it_has_nothing_that_few_jobs_have(rare: dict[str, object]) -> None:
    plain = NewJob(new_job_id(), "work", "{}", queue="q", priority=1, max_attempts=9, fresh=True)

    assert plain.is_plain
    assert not msgspec.structs.replace(plain, **rare).is_plain
