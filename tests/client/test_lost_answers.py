"""I1, I2: a write whose answer was lost is done once, and its caller is told what became of it or that nobody knows.

The proxy lets the server run a statement and commit it, and resets the connection instead of passing the answer on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, TypeAlias, cast
from uuid import UUID

import pytest

from jobplane import (
    CancelResult,
    DatabaseSettings,
    DatabaseUnavailableError,
    EnqueueJobResult,
    JobQueue,
    JobsExistError,
    JobStateError,
    JobStatus,
    NewJob,
    OutcomeUnknownError,
    ScheduleChange,
    new_job,
)
from jobplane.ids import new_job_id
from jobplane.options import JobQueueOptions
from jobplane.sql import channel
from tests.factories import SQL, count_jobs, make_job, row_of
from tests.faults.proxy import FaultProxy
from tests.faults.wire import COPY_DONE
from tests.support import until

COLOURS: Final = ("async", "sync")
JOB: Final = UUID("0192aaaa-0000-7000-8000-000000000001")
Call: TypeAlias = Callable[..., Awaitable[object]]

both_colours = pytest.mark.parametrize("colour", COLOURS)


@pytest.fixture
async def proxy(database_url: str) -> AsyncIterator[FaultProxy]:
    """The way of the clients below to the server."""
    async with FaultProxy(database_url) as proxy:
        yield proxy


@pytest.fixture
async def far(proxy: FaultProxy, settings: DatabaseSettings) -> AsyncIterator[JobQueue]:
    """A client on the other side of the proxy."""
    async with JobQueue(settings=replace(settings, url=proxy.url)) as queue:
        yield queue


def call_of(queue: JobQueue, colour: str) -> Call:
    """`await call("retry", job_id)`, in either colour."""

    async def call(verb: str, *args: object, **options: object) -> object:
        if colour == "async":
            return await getattr(queue, verb)(*args, **options)
        return await asyncio.to_thread(lambda: getattr(queue.sync, verb)(*args, **options))

    return call


@dataclass(frozen=True)
class Write:
    """A change that an operator makes.

    Attributes:
        verb: of both clients.
        args: its arguments.
        before: SQL that makes the ground for it.
        state: SQL for the row that it changes.
        after: what that is then.
        meanwhile: SQL of somebody who undoes it before the caller has an answer.
        answers: what the caller is told.
        options: its named arguments.
    """

    verb: str
    args: tuple[object, ...]
    before: str
    state: str
    after: object
    meanwhile: str
    answers: object = None
    options: dict[str, object] | None = None

    async def made_by(self, call: Call) -> object:
        return await call(self.verb, *self.args, **(self.options or {}))


_ENDED: Final = (
    f"INSERT INTO control_plane.jobs (id, type, status, attempts, lease_epoch, completed_at) "
    f"VALUES ('{JOB}', 'work', 'completed', 3, 3, now())"
)
_PENDING: Final = f"INSERT INTO control_plane.jobs (id, type) VALUES ('{JOB}', 'work')"
_RUNNING: Final = (
    "UPDATE control_plane.jobs SET status = 'running', attempts = attempts + 1, lease_epoch = lease_epoch + 1, "
    "lease_expires_at = now() + interval '1 hour', completed_at = NULL, cancel_requested_at = NULL"
)
_COMPLETED: Final = (
    "UPDATE control_plane.jobs SET status = 'completed', completed_at = now(), lease_expires_at = NULL"
)
_JOB: Final = "SELECT (status, max_attempts, cancel_requested_at IS NOT NULL)::text FROM control_plane.jobs"
_SCHEDULE: Final = "INSERT INTO control_plane.schedules (name, cron, type, missed) VALUES ('nightly', '0 3 * * *', 'work', 'latest')"
_SCHEDULES: Final = (
    "SELECT COALESCE((SELECT (cron, paused_at IS NULL)::text FROM control_plane.schedules), 'none')"
)
_QUEUE: Final = "SELECT (paused_at IS NOT NULL, max_running)::text FROM control_plane.queues"

WRITES: Final = (
    Write(
        "retry",
        (JOB,),
        _ENDED,
        _JOB,
        "(pending,4,f)",
        f"{_RUNNING}; {_COMPLETED}",
        options={"extra_attempts": 1},
    ),
    Write("cancel", (JOB,), _PENDING, _JOB, "(cancelled,3,t)", _RUNNING, CancelResult.CANCELLED),
    Write(
        "cancel",
        (JOB,),
        f"{_PENDING}; {_RUNNING}",
        _JOB,
        "(running,3,t)",
        f"{_COMPLETED}; {_RUNNING}",
        CancelResult.REQUESTED,
    ),
    Write(
        "pause_queue", ("mail",), "SELECT", _QUEUE, "(t,)", "UPDATE control_plane.queues SET paused_at = NULL"
    ),
    Write(
        "resume_queue",
        ("mail",),
        "INSERT INTO control_plane.queues (name, paused_at) VALUES ('mail', now())",
        _QUEUE,
        "(f,)",
        "UPDATE control_plane.queues SET paused_at = now()",
    ),
    Write(
        "limit_queue",
        ("mail", 3),
        "SELECT",
        _QUEUE,
        "(f,3)",
        "UPDATE control_plane.queues SET max_running = 7",
    ),
    Write(
        "create_schedule",
        ("nightly", "0 3 * * *", "work"),
        "SELECT",
        _SCHEDULES,
        '("0 3 * * *",t)',
        "DELETE FROM control_plane.schedules",
        ScheduleChange.CREATED,
    ),
    Write(
        "create_schedule",
        ("nightly", "0 4 * * *", "work"),
        _SCHEDULE,
        _SCHEDULES,
        '("0 4 * * *",t)',
        "UPDATE control_plane.schedules SET cron = '0 5 * * *'",
        ScheduleChange.CHANGED,
    ),
    Write(
        "pause_schedule",
        ("nightly",),
        _SCHEDULE,
        _SCHEDULES,
        '("0 3 * * *",f)',
        "UPDATE control_plane.schedules SET paused_at = NULL",
    ),
    Write(
        "resume_schedule",
        ("nightly",),
        f"{_SCHEDULE}; UPDATE control_plane.schedules SET paused_at = now()",
        _SCHEDULES,
        '("0 3 * * *",t)',
        "UPDATE control_plane.schedules SET paused_at = now()",
    ),
    Write("delete_schedule", ("nightly",), _SCHEDULE, _SCHEDULES, "none", _SCHEDULE),
)
each_write = pytest.mark.parametrize("write", WRITES, ids=[f"{w.verb}-{w.after}" for w in WRITES])


@both_colours
@each_write
async def test_a_change_is_made_once_and_answered_though_its_answer_was_lost(
    far: JobQueue, proxy: FaultProxy, sql: SQL, colour: str, write: Write
) -> None:
    await sql.execute(write.before)
    proxy.lose_answers("COMMIT")

    answer = await write.made_by(call_of(far, colour))

    assert proxy.swallowed == 1
    assert answer == write.answers
    assert await sql.fetchval(write.state) == write.after


@both_colours
@each_write
async def test_a_change_that_was_undone_before_its_caller_had_an_answer_is_not_made_again(
    far: JobQueue, proxy: FaultProxy, sql: SQL, colour: str, write: Write
) -> None:
    """I10 and its like: one call, one transition. For cancel: a run that somebody else's retry began goes on."""
    await sql.execute(write.before)
    proxy.lose_answers("COMMIT", then_cut=True)
    calling = asyncio.ensure_future(write.made_by(call_of(far, colour)))
    await until(lambda: _is_lost(proxy))
    await sql.execute(write.meanwhile)
    undone = await sql.fetchval(write.state)

    proxy.heal()

    assert await calling == write.answers
    assert await sql.fetchval(write.state) == undone != write.after


@both_colours
@each_write
@pytest.mark.parametrize("lost", ["statement", "connection"])
async def test_a_change_that_certainly_was_not_made_is_made(
    far: JobQueue, proxy: FaultProxy, sql: SQL, colour: str, write: Write, lost: str
) -> None:
    """The answer is lost before the commit was asked for, or the connection had ended while it was idle."""
    call = call_of(far, colour)
    await call("count_jobs")
    await sql.execute(write.before)
    if lost == "statement":
        words = write.verb.split("_")
        name = {"retry": "job/retry", "cancel": "job/cancel", "create_schedule": "schedule/put"}
        proxy.lose_answers(f"jobplane: {name.get(write.verb) or f'{words[1]}/{words[0]}'} ")
    else:
        proxy.end_all()

    answer = await write.made_by(call)

    assert proxy.swallowed == (lost == "statement")
    assert answer == write.answers
    assert await sql.fetchval(write.state) == write.after


@both_colours
@each_write
async def test_where_the_server_cannot_be_asked_in_time_the_caller_is_told_that_nobody_knows(
    proxy: FaultProxy, settings: DatabaseSettings, sql: SQL, colour: str, write: Write
) -> None:
    await sql.execute(write.before)
    impatient = replace(
        settings, url=proxy.url, patience=timedelta(seconds=0.5), connect_timeout=timedelta(seconds=0.5)
    )
    async with JobQueue(settings=impatient) as queue:
        proxy.lose_answers("COMMIT", then_cut=True)
        with pytest.raises(OutcomeUnknownError, match="not known whether the change was made"):
            await write.made_by(call_of(queue, colour))
        with pytest.raises(DatabaseUnavailableError) as certain:
            await write.made_by(call_of(queue, colour))
        proxy.heal()

    assert not isinstance(certain.value, OutcomeUnknownError), "nothing was sent"
    assert await sql.fetchval(write.state) == write.after


async def test_of_retries_at_once_one_is_done_and_the_others_are_refused(queue: JobQueue, sql: SQL) -> None:
    """I10."""
    await make_job(sql, JobStatus.FAILED, id=JOB)

    answers = await asyncio.gather(
        *(queue.retry(JOB, extra_attempts=2) for _ in range(10)), return_exceptions=True
    )

    assert [answer is None for answer in answers].count(True) == 1
    assert sum(isinstance(answer, JobStateError) for answer in answers) == 9
    assert (await row_of(sql, JOB))["max_attempts"] == 5


ENQUEUES: Final[dict[str, JobQueueOptions]] = {
    "plain": {},
    "tagged": {"tags": ["a"]},
    "later": {"delay": 60},
    "chosen id": {"id": JOB},
    "idempotency key": {"idempotency_key": "k"},
    "unique key": {"unique_key": "k"},
}
each_enqueue = pytest.mark.parametrize("options", ENQUEUES.values(), ids=list(ENQUEUES))


@both_colours
@each_enqueue
async def test_an_enqueue_whose_answer_was_lost_says_that_it_made_the_job_and_wakes_workers(
    far: JobQueue, proxy: FaultProxy, sql: SQL, colour: str, options: JobQueueOptions
) -> None:
    heard: list[str] = []
    await sql.add_listener(channel("control_plane"), lambda *words: heard.append(str(words[3])))
    call = call_of(far, colour)
    proxy.lose_answers("jobplane: job/insert")

    made = cast("EnqueueJobResult", await call("enqueue", "work", {}, queue="q", **options))

    assert proxy.swallowed == 1
    assert made == replace(made, status=JobStatus.PENDING, existing=False)
    assert await sql.fetchval("SELECT id FROM control_plane.jobs") == made.id
    await until(lambda: _holds(heard == ["q"]))


@both_colours
@each_enqueue
async def test_a_job_that_was_there_before_the_call_is_not_taken_for_its_own(
    far: JobQueue, queue: JobQueue, proxy: FaultProxy, sql: SQL, colour: str, options: JobQueueOptions
) -> None:
    """Also after a lost answer: the job is older than the call."""
    job = new_job("work", {}, options)
    first = await queue.enqueue_new(job)
    # Within the time that an answer takes to arrive, the two could not be told apart.
    aged = await sql.fetchval(
        "UPDATE control_plane.jobs SET created_at = created_at - interval '1 s' RETURNING created_at"
    )
    call = call_of(far, colour)
    proxy.lose_answers("jobplane: job/insert")

    again = cast("EnqueueJobResult", await call("enqueue_new", job))

    assert proxy.swallowed == 1
    assert again == replace(first, existing=True, created_at=aged)


@both_colours
async def test_an_enqueue_that_never_reached_the_server_is_made(
    far: JobQueue, proxy: FaultProxy, sql: SQL, colour: str
) -> None:
    call = call_of(far, colour)
    await call("enqueue", "work")
    proxy.end_all()

    made = cast("EnqueueJobResult", await call("enqueue", "work"))

    assert not made.existing
    assert await count_jobs(sql) == 2


@both_colours
async def test_an_enqueue_without_an_answer_in_time_says_that_nobody_knows(
    proxy: FaultProxy, settings: DatabaseSettings, sql: SQL, colour: str
) -> None:
    impatient = replace(
        settings, url=proxy.url, patience=timedelta(seconds=0.5), connect_timeout=timedelta(seconds=0.5)
    )
    job = new_job("work", {})
    async with JobQueue(settings=impatient) as queue:
        call = call_of(queue, colour)
        proxy.lose_answers("jobplane: job/insert", then_cut=True)
        with pytest.raises(OutcomeUnknownError):
            await call("enqueue_new", job)
        with pytest.raises(DatabaseUnavailableError) as certain:
            await call("enqueue", "work")
    async with JobQueue(settings=settings) as queue:  # by a way that was never cut
        again = cast("EnqueueJobResult", await call_of(queue, colour)("enqueue_new", job))

    assert not isinstance(certain.value, OutcomeUnknownError)
    assert again.existing, "a new call finds what the first one wrote"
    assert await count_jobs(sql) == 1


async def test_a_batch_whose_answer_was_lost_answers_each_caller_for_its_own_job(
    far: JobQueue, queue: JobQueue, proxy: FaultProxy, sql: SQL
) -> None:
    there = await queue.enqueue("work", idempotency_key="there")
    held = await queue.enqueue("work", unique_key="held")
    twin = new_job("work", {})
    lone = [far.enqueue("work") for _ in range(2)]
    proxy.lose_answers("jobplane: job/insert_many")

    results = await asyncio.gather(
        *lone,
        *(far.enqueue("work", {"n": n}) for n in range(20)),
        far.enqueue("work", idempotency_key="new"),
        far.enqueue("work", unique_key="new"),
        far.enqueue_new(twin),
        far.enqueue_new(twin),
        far.enqueue("work", idempotency_key="there"),
        far.enqueue("work", unique_key="held"),
    )

    assert proxy.swallowed == 1
    assert [result.existing for result in results] == [False] * 25 + [True] * 3
    assert [result.id for result in results[-2:]] == [there.id, held.id]
    assert await count_jobs(sql) == 27


async def test_neighbours_of_a_job_of_another_tenant_are_told_that_they_were_made(
    queue: JobQueue, sql: SQL
) -> None:
    """The batch is written before the job that is refused is looked for; each is then tried by itself."""
    taken = new_job_id()
    await make_job(sql, id=taken, tenant="bolt")
    lone = [queue.enqueue("work") for _ in range(2)]

    *results, refused = await asyncio.gather(
        *lone,
        *(queue.enqueue("work", {"n": n}) for n in range(5)),
        queue.enqueue("work", idempotency_key="k"),
        queue.enqueue("work", idempotency_key="k"),
        queue.enqueue("work", id=taken),
        return_exceptions=True,
    )

    assert isinstance(refused, ValueError)
    existing = [result.existing for result in results if isinstance(result, EnqueueJobResult)]
    assert existing == [False] * 8 + [True]
    assert await count_jobs(sql) == 9


@both_colours
@pytest.mark.parametrize("told", [False, True], ids=["COPY", "a tenant's, in chunks"])
async def test_many_jobs_whose_answer_was_lost_are_written_once_and_the_next_try_says_so(
    proxy: FaultProxy, settings: DatabaseSettings, sql: SQL, colour: str, *, told: bool
) -> None:
    """COPY is not repeated by itself: its jobs may come from a generator."""
    jobs = [new_job("work", {"n": n}) for n in range(2500)]
    chosen = replace(settings, url=proxy.url, row_security=told)
    async with JobQueue(settings=chosen, tenant="acme" if told else None) as queue:
        call = call_of(queue, colour)
        proxy.lose_answers("COMMIT" if told or colour == "sync" else COPY_DONE)
        with pytest.raises(OutcomeUnknownError, match=r"(?s)enqueue_many: .*not known whether"):
            await call("enqueue_many", jobs)
        with pytest.raises(
            JobsExistError, match=r"(?s)enqueue_many: .*Nothing was written.*wrote all of them"
        ):
            await call("enqueue_many", [*jobs, new_job("work", {})])

    assert proxy.swallowed == 1
    assert await count_jobs(sql) == 2500


@both_colours
async def test_many_jobs_that_were_cut_off_before_their_end_are_certainly_not_written(
    far: JobQueue, proxy: FaultProxy, sql: SQL, colour: str
) -> None:
    loop = asyncio.get_running_loop()

    def jobs() -> Iterator[NewJob]:
        for number in range(2000):
            if number == 1000:
                loop.call_soon_threadsafe(proxy.end_all)
            # As much as is written at once, so that the end is met before the last of them.
            yield new_job("work", {"text": "x" * 20_000})

    with pytest.raises(DatabaseUnavailableError) as cut:
        await call_of(far, colour)("enqueue_many", jobs())

    assert not isinstance(cut.value, OutcomeUnknownError)
    assert await count_jobs(sql) == 0


async def test_patience_is_not_begun_anew_after_a_lost_answer(
    proxy: FaultProxy, settings: DatabaseSettings, sql: SQL
) -> None:
    """The insert's answer is lost, then every look for what is there breaks off: one patience for all of it."""
    impatient = replace(settings, url=proxy.url, patience=timedelta(seconds=1))
    async with JobQueue(settings=impatient) as queue:
        proxy.lose_answers("jobplane: job/", 1000)
        began = asyncio.get_running_loop().time()
        with pytest.raises(OutcomeUnknownError):
            await queue.enqueue("work", tags=["a"])
        took = asyncio.get_running_loop().time() - began

    assert took < 1.9
    assert await count_jobs(sql) == 1


async def _is_lost(proxy: FaultProxy) -> bool:
    return proxy.swallowed > 0


async def _holds(condition: bool) -> bool:  # noqa: FBT001 - an answer
    return condition
