"""After a failure the policy decides; attempts are counted at the claim and never exceed their limit (I6)."""

import math
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import JobContext, JobQueue, JobStatus, Retry, Snooze, Worker
from jobplane.events import RetryPolicyFailed
from jobplane.retry import Fixed, Linear, Listed, RetryPolicy
from tests.factories import SQL, attempts_of, make_job, row_of
from tests.support import Recorder, until

NOW = Fixed(timedelta(0))


async def test_a_failed_attempt_is_recorded_and_followed_by_another_until_one_succeeds(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task(max_attempts=5, retry=NOW)
    async def flaky(ctx: JobContext) -> int:
        if ctx.attempt < 3:
            raise ConnectionError(f"try {ctx.attempt}")
        return ctx.attempt

    made = await flaky.enqueue()

    async with make_worker(queue) as worker:
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result, job.attempts, job.lease_epoch) == (JobStatus.COMPLETED, 3, 3, 3)
    first, second = await attempts_of(sql, made.id)
    assert (first["epoch"], first["attempt"], first["outcome"]) == (1, 1, "failed")
    assert (second["epoch"], second["attempt"], second["message"]) == (2, 2, "try 2")
    assert first["worker_id"] == worker.id
    assert first["started_at"] <= first["ended_at"] <= second["started_at"]


async def test_a_job_whose_attempts_are_used_up_is_failed(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    runs = 0

    @queue.task(max_attempts=3, retry=NOW)
    async def broken() -> None:
        nonlocal runs
        runs += 1
        raise ValueError("always")

    made = await broken.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts, runs) == (JobStatus.FAILED, 3, 3)
    assert job.last_error == "ValueError: always"
    assert job.completed_at is not None


@pytest.mark.parametrize(
    ("policy", "attempt", "seconds"),
    [
        (Fixed(timedelta(minutes=5)), 1, 300),
        (Linear(timedelta(minutes=1)), 4, 240),
        (Listed((timedelta(minutes=1), timedelta(hours=1))), 2, 3600),
    ],
    ids=["fixed", "linear", "listed"],
)
async def test_the_next_attempt_is_due_when_the_policy_says(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    sql: SQL,
    policy: RetryPolicy,
    attempt: int,
    seconds: int,
) -> None:
    @queue.task(retry=policy)
    async def broken() -> None:
        raise ValueError

    job_id = await make_job(
        sql, type="broken", attempts=attempt - 1, lease_epoch=attempt - 1, max_attempts=10
    )

    async with make_worker(queue):
        waits = await until(lambda: _wait_for_next(sql, job_id))

    assert timedelta(seconds=seconds - 20) < waits <= timedelta(seconds=seconds)


async def test_a_job_may_have_delays_of_its_own(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task(retry=Fixed(timedelta(minutes=5), never=(KeyError,)))
    async def broken(kind: str) -> None:
        raise KeyError if kind == "key" else ValueError

    own = await broken.with_options(retry=Fixed(timedelta(hours=2))).enqueue("value")
    final = await broken.with_options(retry=Fixed(timedelta(hours=2))).enqueue("key")

    async with make_worker(queue):
        waits = await until(lambda: _wait_for_next(sql, own.id))
        ended = await queue.wait(final.id, 10)

    assert timedelta(hours=1, minutes=59) < waits <= timedelta(hours=2)
    assert (ended.status, ended.attempts) == (JobStatus.FAILED, 1), (
        "which errors are final stays the type's choice"
    )


@pytest.mark.parametrize(
    ("policy", "error", "attempts"),
    [
        (Fixed(timedelta(0), only=(OSError,)), ConnectionError("down"), 3),
        (Fixed(timedelta(0), only=(OSError,)), ValueError("wrong"), 1),
        (Fixed(timedelta(0), never=(ValueError,)), UnicodeError("bad"), 1),
        (Fixed(timedelta(0), never=(ValueError,)), OSError("down"), 3),
        (Fixed(timedelta(0), only=(Exception,)), SystemExit("bye"), 1),
    ],
    ids=["only: listed", "only: other", "never: listed", "never: other", "only: no Exception"],
)
async def test_a_policy_may_retry_after_some_exceptions_only(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    policy: RetryPolicy,
    error: BaseException,
    attempts: int,
) -> None:
    @queue.task(max_attempts=3, retry=policy)
    async def broken() -> None:
        raise error

    made = await broken.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts) == (JobStatus.FAILED, attempts)


async def test_a_job_that_has_used_up_its_attempts_already_fails_without_a_run(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    runs: list[UUID] = []

    @queue.task
    async def work(ctx: JobContext) -> None:
        runs.append(ctx.job.id)

    job_id = await make_job(sql, attempts=3, lease_epoch=3, max_attempts=3)

    async with make_worker(queue):
        job = await queue.wait(job_id, 10)

    assert (job.status, runs) == (JobStatus.FAILED, [])
    assert job.last_error == "AttemptsExhausted: attempt 4 of 3 was not run"


@pytest.mark.parametrize("payload", [{}, {"count": "many"}, {"count": None}])
async def test_arguments_that_do_not_fit_are_a_recorded_failure_that_the_next_deploy_may_mend(
    queue: JobQueue, make_worker: Callable[..., Worker], payload: dict[str, str | None]
) -> None:
    @queue.task(retry=Fixed(timedelta(0), only=(OSError,)))
    async def work(count: int) -> None: ...

    made = await queue.enqueue("work", payload, max_attempts=2)

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts) == (JobStatus.FAILED, 2), (
        "retried although the policy names other errors"
    )
    assert (job.last_error or "").startswith("InvalidArgumentsError: arguments must fit")


async def test_members_of_the_payload_that_the_handler_does_not_know_are_ignored(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work(count: int) -> int:
        return count

    made = await queue.enqueue("work", {"count": 2, "added_later": True}, priority=3)

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert job.result == 2


async def test_an_at_most_once_job_is_not_tried_again(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    runs = 0

    @queue.task(at_most_once=True, retry=NOW)
    async def charge() -> None:
        nonlocal runs
        runs += 1
        raise ConnectionError("perhaps charged")

    made = await charge.with_options(max_attempts=5).enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts, runs) == (JobStatus.FAILED, 1, 1)


async def test_an_at_most_once_job_that_was_claimed_before_is_not_run(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    runs = 0

    @queue.task(at_most_once=True)
    async def charge() -> None:
        nonlocal runs
        runs += 1

    job_id = await make_job(sql, type="charge", attempts=1, lease_epoch=1, max_attempts=9)

    async with make_worker(queue):
        job = await queue.wait(job_id, 10)

    assert (job.status, runs) == (JobStatus.FAILED, 0)
    assert (job.last_error or "").startswith("AtMostOnce: an earlier attempt may have run")


async def test_an_at_most_once_job_may_snooze_since_it_says_itself_that_it_did_nothing(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    runs = 0

    @queue.task(at_most_once=True)
    async def charge() -> Snooze | str:
        nonlocal runs
        runs += 1
        return "charged" if runs == 2 else Snooze(timedelta(0))

    made = await charge.enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result, runs) == (JobStatus.COMPLETED, "charged", 2)


async def test_an_explicit_retry_runs_an_ended_job_once_more_with_its_epoch_going_on(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    epochs: list[int] = []

    @queue.task(max_attempts=1)
    async def work(ctx: JobContext) -> None:
        epochs.append(ctx.epoch)
        if ctx.epoch == 1:
            raise ValueError

    made = await work.enqueue()

    async with make_worker(queue):
        await queue.wait(made.id, 10)
        await queue.retry(made.id, extra_attempts=1)
        job = await until(lambda: _completed(queue, made.id))

    assert (job, epochs) == (2, [1, 2])


class Broken(RetryPolicy):
    """A policy of the user's own that answers something, or raises it."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def _delay(self, attempt: int) -> float:  # noqa: ARG002 - always the same
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer  # type: ignore[return-value]


class BrokenAltogether(Broken):
    """Overrides the public method, so that nothing of ours looks at the answer first."""

    def delay(self, attempt: int) -> timedelta:
        return self._delay(attempt)  # type: ignore[return-value]


@pytest.mark.parametrize("kind", [Broken, BrokenAltogether])
@pytest.mark.parametrize(
    "answer", [None, math.nan, "soon", ValueError("no"), SystemExit(3), KeyboardInterrupt()], ids=repr
)
async def test_whatever_a_policy_of_the_users_own_answers_the_outcome_is_recorded_and_the_worker_lives(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    sql: SQL,
    kind: type[Broken],
    answer: object,
) -> None:
    """I19. The default policy decides in its place, and the worker says so."""

    @queue.task(retry=kind(answer))
    async def work() -> None:
        raise ConnectionError("try again")

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, RetryPolicyFailed)

    async with worker:
        wait = await until(lambda: _wait_for_next(sql, made.id))
        (said,) = await recorder.wait_for(RetryPolicyFailed)

    assert wait < timedelta(seconds=5)
    assert said.claim.id == made.id
    (attempt,) = await attempts_of(sql, made.id)
    assert (attempt["outcome"], attempt["error_type"]) == ("failed", "ConnectionError")


@pytest.mark.parametrize("kind", [Broken, BrokenAltogether])
async def test_a_policy_of_the_users_own_may_answer_seconds(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, kind: type[Broken]
) -> None:
    @queue.task(retry=kind(40))
    async def work() -> None:
        raise ConnectionError

    made = await work.enqueue()
    worker = make_worker(queue)
    recorder = Recorder(worker.events, RetryPolicyFailed)

    async with worker:
        wait = await until(lambda: _wait_for_next(sql, made.id))

    assert timedelta(seconds=20) < wait <= timedelta(seconds=40)
    assert recorder.seen == []


async def test_the_exceptions_of_a_tasks_own_policy_count_also_where_the_job_has_delays_of_its_own(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    class OnlyTimeouts(RetryPolicy):
        def retries(self, error: BaseException) -> bool:
            return isinstance(error, TimeoutError)

    @queue.task(retry=OnlyTimeouts())
    async def work() -> None:
        raise ConnectionError

    made = await work.with_options(retry=NOW).enqueue()

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.attempts) == (JobStatus.FAILED, 1)


@pytest.mark.parametrize("limit", ["max_attempts", "at_most_once"])
@pytest.mark.parametrize("how", ["raises", "retries"])
async def test_a_task_of_one_attempt_is_called_once_whatever_the_job_allows(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, limit: str, how: str
) -> None:
    """I6. A program in SQL knows no tasks: its jobs have 3 attempts unless it says otherwise."""
    runs = 0

    @queue.task(max_attempts=1, at_most_once=limit == "at_most_once", retry=NOW)
    async def charge() -> Retry | None:
        nonlocal runs
        runs += 1
        if how == "raises":
            raise ConnectionError("perhaps charged")
        return Retry(timedelta(0), "perhaps charged")

    job_id = await make_job(sql, type="charge", max_attempts=3)

    async with make_worker(queue):
        job = await queue.wait(job_id, 10)

    assert (job.status, job.attempts, runs) == (JobStatus.FAILED, 1, 1)


async def test_a_task_of_one_attempt_is_not_called_again_after_a_crash_but_by_an_explicit_retry(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """I6: at most once between explicit retries, whoever made the job."""
    attempts: list[int] = []

    @queue.task(max_attempts=1)
    async def charge(ctx: JobContext) -> None:
        attempts.append(ctx.attempt)
        raise ConnectionError

    job_id = await make_job(sql, type="charge", attempts=1, lease_epoch=1, max_attempts=9)

    async with make_worker(queue):
        refused = await queue.wait(job_id, 10)
        assert (refused.status, attempts) == (JobStatus.FAILED, [])
        assert (refused.last_error or "").startswith(
            "AttemptsExhausted: attempt 2 was not run: its task is declared"
        )
        for _ in range(2):
            await queue.retry(job_id)
            assert (await queue.wait(job_id, 10)).status is JobStatus.FAILED

    assert attempts == [3, 4]


async def test_a_job_of_several_attempts_has_as_many_as_it_says_whatever_its_task_says(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """Only max_attempts=1 of a task is a bound for all jobs; else the job's own number is what counts."""
    runs = 0

    @queue.task(max_attempts=2, retry=NOW)
    async def work() -> None:
        nonlocal runs
        runs += 1
        raise ConnectionError

    job_id = await make_job(sql, type="work", max_attempts=4)

    async with make_worker(queue):
        await queue.wait(job_id, 10)

    assert runs == 4


async def _wait_for_next(sql: SQL, job_id: UUID) -> timedelta | None:
    row = await row_of(sql, job_id)
    if row["status"] != "pending" or row["last_error"] is None:
        return None
    waits: timedelta = await sql.fetchval(
        "SELECT scheduled_at - now() FROM control_plane.jobs WHERE id = $1", job_id
    )
    return waits


async def _completed(queue: JobQueue, job_id: UUID) -> int | None:
    job = await queue.get_job(job_id)
    return job.attempts if job is not None and job.status is JobStatus.COMPLETED else None
