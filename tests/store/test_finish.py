"""job/complete and job/finish: how a claim ends, and that only its holder can end it."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import JobStatus
from jobplane.failure import ErrorReport, report_of
from jobplane.job import Claim
from jobplane.outcome import Cancelled, Completed, Failed, Outcome, Released, Rescheduled, Snoozed
from jobplane.store.store import Store
from tests.factories import SQL, attempts_of, claim_of, make_job, row_of

RUNNING = JobStatus.RUNNING
ERROR = ErrorReport("ValueError", "no good", ("a.py:1 f",))
MINUTE = timedelta(minutes=1)
OUTCOMES: dict[str, Outcome] = {
    "completed": Completed(),
    "completed with result": Completed('{"a": 1}'),
    "completed without its result": Completed.without_result("too large"),
    "failed": Failed(ERROR),
    "rescheduled": Rescheduled(ERROR, MINUTE),
    "snoozed": Snoozed(MINUTE),
    "cancelled": Cancelled(ERROR),
    "released unstarted": Released(),
    "released interrupted": Released(ERROR),
}
every_outcome = pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES.keys())


async def _of_another_epoch(sql: SQL) -> Claim:
    """A claim that is still good: beside it, a batch is of several epochs."""
    return await claim_of(sql, await make_job(sql, RUNNING, lease_epoch=99))


@pytest.mark.parametrize(
    ("outcome", "status", "attempts", "delay", "error", "recorded"),
    [
        (OUTCOMES["completed"], "completed", 2, None, None, None),
        (OUTCOMES["completed with result"], "completed", 2, None, None, None),
        (
            OUTCOMES["completed without its result"],
            "completed",
            2,
            None,
            "result not stored: too large",
            None,
        ),
        (OUTCOMES["failed"], "failed", 2, None, "ValueError: no good", "failed"),
        (Failed(ERROR, "timeout"), "failed", 2, None, "ValueError: no good", "timeout"),
        (OUTCOMES["rescheduled"], "pending", 2, MINUTE, "ValueError: no good", "failed"),
        (OUTCOMES["snoozed"], "pending", 1, MINUTE, None, None),
        (OUTCOMES["cancelled"], "cancelled", 2, None, "ValueError: no good", "cancelled"),
        (OUTCOMES["released unstarted"], "pending", 1, None, None, None),
        (OUTCOMES["released interrupted"], "pending", 2, None, "ValueError: no good", "interrupted"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Outcome) else None,
)
async def test_each_outcome_leaves_the_job_as_it_says(
    store: Store,
    sql: SQL,
    outcome: Outcome,
    status: str,
    attempts: int,
    delay: timedelta | None,
    error: str | None,
    recorded: str | None,
) -> None:
    """I11: and I6, since a snooze or a release gives its attempt back."""
    job_id = await make_job(sql, RUNNING, attempts=2, lease_epoch=2)
    before = await row_of(sql, job_id)

    finished = await store.finish([(await claim_of(sql, job_id), outcome)])

    row = await row_of(sql, job_id)
    assert finished == {job_id}
    assert (row["status"], row["attempts"], row["lease_epoch"]) == (status, attempts, 2)
    assert (row["lease_expires_at"], row["last_error"]) == (None, error)
    assert (row["completed_at"] is None) is (status == "pending")
    now = await sql.fetchval("SELECT now()")
    due = row["scheduled_at"] - (delay or timedelta(0))
    assert due == before["scheduled_at"] if delay is None else timedelta(0) <= now - due < MINUTE
    assert [attempt["outcome"] for attempt in await attempts_of(sql, job_id)] == (
        [recorded] if recorded else []
    )


@every_outcome
async def test_an_older_epoch_is_refused(store: Store, sql: SQL, outcome: Outcome) -> None:
    """I5: a worker that lost the job can never change it."""
    job_id = await make_job(sql, RUNNING, lease_epoch=2)
    stale = await claim_of(sql, job_id)
    await sql.execute(
        "UPDATE control_plane.jobs SET lease_epoch = 3, worker_id = 'other' WHERE id = $1", job_id
    )
    before = await row_of(sql, job_id)

    assert await store.finish([(stale, outcome)]) == set()
    assert await store.complete([stale]) == set()
    beside = await _of_another_epoch(sql)
    assert await store.complete([stale, beside]) == {beside.id}

    assert await row_of(sql, job_id) == before
    assert await attempts_of(sql, job_id) == []


@every_outcome
@pytest.mark.parametrize("status", sorted(set(JobStatus) - {RUNNING}))
async def test_a_job_that_is_not_running_is_left_alone_even_under_its_own_epoch(
    store: Store, sql: SQL, status: JobStatus, outcome: Outcome
) -> None:
    """I10: what has ended stays as it ended."""
    job_id = await make_job(sql, status, lease_epoch=1)
    claim = await claim_of(sql, job_id)
    before = await row_of(sql, job_id)

    assert await store.finish([(claim, outcome)]) == set()
    # As far as anyone can tell, this claim itself completed it, and the answer was lost.
    already = {job_id} if status is JobStatus.COMPLETED else set[UUID]()
    assert await store.complete([claim]) == already
    beside = await _of_another_epoch(sql)
    assert await store.complete([claim, beside]) == {beside.id} | already

    assert await row_of(sql, job_id) == before
    assert await attempts_of(sql, job_id) == []


@every_outcome
async def test_a_job_that_is_gone_is_reported_as_lost(store: Store, sql: SQL, outcome: Outcome) -> None:
    job_id = await make_job(sql, RUNNING)
    claim = await claim_of(sql, job_id)
    await sql.execute("DELETE FROM control_plane.jobs")

    assert await store.finish([(claim, outcome)]) == set()
    assert await store.complete([claim]) == set()


@pytest.mark.parametrize("name", ["rescheduled", "snoozed", "released unstarted", "released interrupted"])
async def test_a_request_to_cancel_beats_another_round(store: Store, sql: SQL, name: str) -> None:
    """I12."""
    job_id = await make_job(sql, RUNNING, cancel_requested_at=timedelta(0))

    assert await store.finish([(await claim_of(sql, job_id), OUTCOMES[name])]) == {job_id}

    row = await row_of(sql, job_id)
    assert row["status"] == "cancelled"
    assert row["completed_at"] is not None


@pytest.mark.parametrize(("name", "status"), [("completed", "completed"), ("failed", "failed")])
async def test_a_job_that_ended_before_it_heard_of_the_request_keeps_its_own_end(
    store: Store, sql: SQL, name: str, status: str
) -> None:
    """I12: completion and cancel are ordered by the row's lock; exactly one wins."""
    job_id = await make_job(sql, RUNNING, cancel_requested_at=timedelta(0))

    await store.finish([(await claim_of(sql, job_id), OUTCOMES[name])])

    assert (await row_of(sql, job_id))["status"] == status


@pytest.mark.parametrize("epochs", [(3, 3, 3, 3), (1, 2, 3, 4)], ids=["of one epoch", "of different epochs"])
async def test_complete_ends_many_claims_and_returns_only_those_that_were_still_ours(
    store: Store, sql: SQL, epochs: tuple[int, ...]
) -> None:
    ids = [await make_job(sql, RUNNING, attempts=epoch, lease_epoch=epoch) for epoch in epochs]
    claims = [await claim_of(sql, job_id) for job_id in ids]
    await sql.execute("UPDATE control_plane.jobs SET lease_epoch = 9 WHERE id = $1", ids[1])
    await sql.execute("UPDATE control_plane.jobs SET status = 'pending' WHERE id = $1", ids[2])

    assert await store.complete(claims) == {ids[0], ids[3]}

    rows = [await row_of(sql, job_id) for job_id in ids]
    assert [row["status"] for row in rows] == ["completed", "running", "pending", "completed"]
    assert [row["completed_at"] is not None for row in rows] == [True, False, False, True]
    assert rows[0]["lease_expires_at"] is None
    assert [row["attempts"] for row in rows] == list(epochs)


@every_outcome
async def test_what_an_earlier_run_left_stays_until_something_takes_its_place(
    store: Store, sql: SQL, outcome: Outcome
) -> None:
    job_id = await make_job(sql, RUNNING, result={"old": 1}, last_error="old")

    await store.finish([(await claim_of(sql, job_id), outcome)])

    row = await row_of(sql, job_id)
    error = getattr(outcome, "error", None)
    if isinstance(outcome, Completed) and outcome.not_stored is not None:
        assert row["result"] is None, "the result of an earlier run must not pass for that of this one"
        error = outcome.not_stored
    else:
        kept = not (isinstance(outcome, Completed) and outcome.result)
        assert json.loads(row["result"]) == ({"old": 1} if kept else {"a": 1})
    assert row["last_error"] == (error.line() if error else "old")


async def test_a_job_that_is_not_named_is_left_alone_whatever_its_epoch(store: Store, sql: SQL) -> None:
    named, other = [await make_job(sql, RUNNING) for _ in range(2)]
    before = await row_of(sql, other)
    claim = await claim_of(sql, named)

    assert await store.complete([claim]) == {named}
    assert await store.finish([(claim, Completed())]) == set()

    assert (await row_of(sql, named))["status"] == "completed"
    assert await row_of(sql, other) == before


async def test_finish_takes_every_outcome_in_one_batch(store: Store, sql: SQL) -> None:
    ids = [await make_job(sql, RUNNING) for _ in OUTCOMES]
    claims = [await claim_of(sql, job_id) for job_id in ids]

    finished = await store.finish(list(zip(claims, OUTCOMES.values(), strict=True)))

    assert finished == set(ids)
    assert [(await row_of(sql, job_id))["status"] for job_id in ids] == [
        "completed",
        "completed",
        "completed",
        "failed",
        "pending",
        "pending",
        "cancelled",
        "pending",
        "pending",
    ]


@pytest.mark.parametrize(
    "result", ['{"a": [1, null, "☃"]}', "[]", '"text"', "7", "true", "null", str(2**200)]
)
async def test_a_result_of_any_json_is_kept(store: Store, sql: SQL, result: str) -> None:
    job_id = await make_job(sql, RUNNING)

    await store.finish([(await claim_of(sql, job_id), Completed(result))])

    assert json.loads((await row_of(sql, job_id))["result"]) == json.loads(result)


async def test_the_attempt_is_recorded_with_all_that_is_known_of_it(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, RUNNING, attempts=2, lease_epoch=5, worker_id="w7")
    row = await row_of(sql, job_id)

    await store.finish([(await claim_of(sql, job_id), Rescheduled(ERROR, MINUTE, "timeout"))])

    (attempt,) = await attempts_of(sql, job_id)
    assert (attempt["epoch"], attempt["attempt"], attempt["outcome"]) == (5, 2, "timeout")
    assert (attempt["error_type"], attempt["message"]) == ("ValueError", "no good")
    assert json.loads(attempt["frames"]) == ["a.py:1 f"]
    assert (attempt["worker_id"], attempt["started_at"]) == ("w7", row["started_at"])
    assert attempt["ended_at"] > attempt["started_at"]


async def test_an_interrupted_attempt_stays_counted_and_is_recorded_under_its_number(
    store: Store, sql: SQL
) -> None:
    """I6: its handler began, so it is one of the max_attempts; its place in the queue stays."""
    job_id = await make_job(sql, RUNNING, attempts=2, lease_epoch=2)

    await store.finish([(await claim_of(sql, job_id), Released(ERROR))])

    (attempt,) = await attempts_of(sql, job_id)
    assert (attempt["attempt"], (await row_of(sql, job_id))["attempts"]) == (2, 2)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\0b"),
        ValueError("\ud800"),
        ValueError("x" * 10_000_000),
        ValueError("'; DROP TABLE x; --"),
        KeyError(),
    ],
    ids=["nul", "surrogate", "10 MB", "sql", "empty"],
)
async def test_whatever_was_raised_can_be_stored(store: Store, sql: SQL, error: Exception) -> None:
    """I19."""
    job_id = await make_job(sql, RUNNING)

    assert await store.finish([(await claim_of(sql, job_id), Failed(report_of(error)))]) == {job_id}

    row, (attempt,) = await row_of(sql, job_id), await attempts_of(sql, job_id)
    assert row["last_error"].startswith(type(error).__name__)
    assert len(row["last_error"].encode()) <= 8192
    assert len(attempt["message"].encode()) <= 8192


async def test_attempts_never_fall_below_zero(store: Store, sql: SQL) -> None:
    job_id = await make_job(sql, RUNNING, attempts=0)

    await store.finish([(await claim_of(sql, job_id), Released())])

    assert (await row_of(sql, job_id))["attempts"] == 0


async def test_nothing_to_finish_is_fine(store: Store) -> None:
    assert await store.finish([]) == set()
    assert await store.complete([]) == set()
