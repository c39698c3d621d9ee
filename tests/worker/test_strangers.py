"""Words on the channel prove nothing: any role that may connect can send them (I10, I12, I22)."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from jobplane import JobQueue, JobStatus, Worker
from jobplane.client.info import CancelResult
from jobplane.events import JobFinished, ListeningPaused, ListeningResumed, ServiceFailed
from jobplane.job import Claim
from jobplane.sql import channel
from jobplane.store.store import Store
from jobplane.wakeups import Cancel, LimitChanged, Wake, read
from jobplane.worker import cancellations, ears, hints
from jobplane.worker.claimer import Claimer
from tests.factories import SQL, make_job
from tests.support import Recorder, until

LISTENING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
)
FAR_HEARTBEATS = {"heartbeat_interval": 20, "lease": 60}


@pytest.fixture
async def stranger(database_url: str, sql: SQL) -> AsyncIterator[SQL]:
    """A session of a role that may connect, and nothing else."""
    role = f"stranger_{secrets.token_hex(6)}"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
    parts = urlsplit(database_url)
    connection = await asyncpg.connect(
        urlunsplit(parts._replace(netloc=f"{role}:{role}@{parts.hostname}:{parts.port}"))
    )
    yield connection
    await connection.close()
    await sql.execute(f"DROP ROLE {role}")


async def _say(session: SQL, word: str) -> None:
    await session.execute("SELECT pg_notify($1, $2)", channel("control_plane"), word)


async def _listens(sql: SQL) -> None:
    await until(lambda: sql.fetchval(LISTENING))


class Questions:
    """Counts what the workers of this process ask about cancellations."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[Sequence[Claim]] = []
        self.answered = asyncio.Event()
        ask = Store.cancel_requested

        async def counted(store: Store, claims: Sequence[Claim]) -> list[tuple[UUID, int]]:
            self.asked.append(claims)
            answer = await ask(store, claims)
            self.answered.set()
            return answer

        monkeypatch.setattr(Store, "cancel_requested", counted)


async def test_a_stranger_ends_neither_a_running_job_nor_one_that_waits_in_its_worker(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    sql: SQL,
    stranger: SQL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[str] = []
    release = asyncio.Event()

    @queue.task
    async def work(name: str) -> str:
        started.append(name)
        await release.wait()
        return name

    questions = Questions(monkeypatch)
    worker = make_worker(queue, queues="default:1", **FAR_HEARTBEATS)
    worker.slots["default"].pace = 1000.0  # as after many quick jobs: claim ahead
    first, second = await work.enqueue("first"), await work.enqueue("second")

    async with worker:
        await until(lambda: _all_claimed(sql))
        await _listens(sql)
        for job_id in (first.id, second.id):
            for word in (Cancel(job_id).word, Cancel(job_id).word.upper(), f"cancel:{{{job_id}}}"):
                await _say(stranger, word)
            await _say(stranger, f"cancel:{str(job_id).upper()}")
        await asyncio.wait_for(questions.answered.wait(), 10)
        release.set()
        ended = [await queue.wait(job_id, 10) for job_id in (first.id, second.id)]

    assert [job.status for job in ended] == [JobStatus.COMPLETED] * 2
    assert [job.cancel_requested_at for job in ended] == [None, None]
    assert started == ["first", "second"]


async def test_a_word_that_comes_late_does_not_end_the_next_attempt(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """I10, I12: cancelled, retried by its user, running again; then the word of the first cancellation arrives."""
    running, finish = asyncio.Semaphore(0), asyncio.Event()

    @queue.task
    async def work() -> str:
        running.release()
        await finish.wait()
        return "done"

    questions = Questions(monkeypatch)
    made = await work.enqueue()

    async with make_worker(queue, **FAR_HEARTBEATS):
        await running.acquire()
        assert await queue.cancel(made.id) is CancelResult.REQUESTED
        assert (await queue.wait(made.id, 10)).status is JobStatus.CANCELLED
        await queue.retry(made.id)
        await running.acquire()
        questions.answered.clear()
        await _say(sql, Cancel(made.id).word)
        await asyncio.wait_for(questions.answered.wait(), 10)
        finish.set()
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result) == (JobStatus.COMPLETED, "done")


async def test_only_the_claim_that_was_asked_about_is_stopped(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """An answer may come late too: the heartbeat's, for a claim that has ended here and was followed by another."""
    running, finish = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await finish.wait()

    made = await work.enqueue()
    worker = make_worker(queue, **FAR_HEARTBEATS)
    recorder = Recorder(worker.events, JobFinished)

    async with worker:
        await running.wait()
        claim = worker.slots["default"].running[made.id].claim
        crew = worker._crew
        assert crew is not None
        crew._cancellations.stop_claims([(made.id, claim.epoch - 1), (made.id, claim.epoch + 1)])
        assert worker.slots["default"].running[made.id].stop_reason is None
        crew._cancellations.stop_claims([(made.id, claim.epoch)])
        await recorder.wait_for(JobFinished)
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.CANCELLED


async def test_however_often_a_held_job_is_named_the_database_is_asked_now_and_then(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    sql: SQL,
    stranger: SQL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running, finish = asyncio.Event(), asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await finish.wait()

    questions = Questions(monkeypatch)
    made = await work.enqueue()

    async with make_worker(queue, **FAR_HEARTBEATS):
        await running.wait()
        await _listens(sql)
        began = time.monotonic()
        for _ in range(300):
            await _say(stranger, Cancel(made.id).word)
            await _say(stranger, Cancel(uuid4()).word)
        await until(lambda: _given(questions.asked))
        took = time.monotonic() - began
        finish.set()
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.COMPLETED
    assert len(questions.asked) <= took / cancellations.ASK_EVERY + 2
    assert all([claim.id for claim in claims] == [made.id] for claims in questions.asked), "only what is held"


async def test_a_real_cancellation_is_heard_among_many_false_ones(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, stranger: SQL
) -> None:
    running = asyncio.Event()

    @queue.task
    async def work() -> None:
        running.set()
        await asyncio.Event().wait()

    made = await work.enqueue()

    async with make_worker(queue, **FAR_HEARTBEATS):
        await running.wait()
        await _listens(sql)
        await stranger.fetch(
            "SELECT pg_notify($1, 'cancel:' || gen_random_uuid()) FROM generate_series(1, 1000)",
            channel("control_plane"),
        )
        await queue.cancel(made.id)
        job = await queue.wait(made.id, 10)

    assert job.status is JobStatus.CANCELLED


async def test_under_a_flood_the_worker_polls_says_so_once_and_comes_back(
    queue: JobQueue,
    make_worker: Callable[..., Worker],
    sql: SQL,
    stranger: SQL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """I13, I22: jobs start although nothing is heard, long before the usual poll."""
    monkeypatch.setattr(ears, "FIRST_PAUSE", 0.2)
    monkeypatch.setattr(ears, "LONGEST_PAUSE", 0.4)
    monkeypatch.setattr(ears, "CALM_AFTER", 0.5)

    @queue.task
    async def work() -> None: ...

    worker = make_worker(queue, poll_interval=60)
    recorder = Recorder(worker.events, ListeningPaused, ListeningResumed, ServiceFailed)
    flooding = True

    async def flood() -> None:
        while flooding:
            await stranger.fetch(
                "SELECT pg_notify($1, md5(random()::text)) FROM generate_series(1, 4000)",
                channel("control_plane"),
            )

    async with worker:
        await _listens(sql)
        strangers = asyncio.create_task(flood())
        await recorder.wait_for(ListeningPaused)
        for _ in range(5):
            made = await work.enqueue()
            assert (await queue.wait(made.id, 10)).status is JobStatus.COMPLETED
        flooding = False
        await strangers
        await recorder.wait_for(ListeningResumed)
        await _listens(sql)
        made = await work.enqueue()
        assert (await queue.wait(made.id, 10)).status is JobStatus.COMPLETED, "woken again: the poll is far"

    assert len(recorder.of(ListeningPaused)) == 1
    assert recorder.of(ServiceFailed) == []


class CountingClaimer:
    """Counts what reaches a claimer."""

    def __init__(self) -> None:
        self.new = self.limits = 0
        self.reached = asyncio.Event()

    def something_new(self) -> None:
        self.new += 1
        self.reached.set()

    def limit_changed(self) -> None:
        self.limits += 1
        self.reached.set()


async def test_hints_about_a_queue_come_together_and_the_last_one_is_not_lost() -> None:
    claimer = CountingClaimer()
    about = hints.QueueHints(_as_claimer(claimer))

    about.something_new()
    assert claimer.new == 1, "the first is passed on at once"
    began = time.monotonic()
    for _ in range(10_000):
        about.something_new()
    took = time.monotonic() - began
    passed = claimer.new
    claimer.reached.clear()
    await asyncio.wait_for(claimer.reached.wait(), 10)
    about.limit_changed()
    about.something_new()
    await until(lambda: _given([None] * claimer.limits))

    assert passed <= hints.LOOKS_AT_ONCE + took * hints.LOOKS_PER_SECOND + 1
    assert claimer.limits == 1


async def test_each_program_of_ours_sends_words_that_the_worker_understands(
    queue: JobQueue, sql: SQL
) -> None:
    """Both colours of the client, and the SQL function."""
    words: list[str] = []
    await sql.add_listener(channel("control_plane"), lambda *args: words.append(str(args[3])))
    running = [await make_job(sql, JobStatus.RUNNING) for _ in range(2)]

    await queue.cancel(running[0])
    await queue.limit_queue("mail", 2)
    await queue.enqueue("work", queue="reports")
    await asyncio.to_thread(_in_sync, queue, running[1])
    await sql.execute("SELECT control_plane.enqueue_job('work', queue => 'from_sql', wake => true)")
    await until(lambda: _given([word for word in words if word == "from_sql"]))

    await until(lambda: _given([None] * (len(words) >= 7)))
    assert {read(word) for word in words} == {
        Cancel(running[0]), LimitChanged("mail"), Wake("reports"),
        Cancel(running[1]), LimitChanged("sync-mail"), Wake("sync-reports"), Wake("from_sql"),
    }  # fmt: skip


def _in_sync(queue: JobQueue, running: UUID) -> None:
    queue.sync.cancel(running)
    queue.sync.limit_queue("sync-mail", 2)
    queue.sync.enqueue("work", queue="sync-reports")


def _as_claimer(claimer: CountingClaimer) -> Claimer:
    return claimer  # type: ignore[return-value]


async def _given(values: Sequence[object]) -> bool:
    return bool(values)


async def _all_claimed(sql: SQL) -> bool:
    claimed: bool = await sql.fetchval("SELECT count(*) = 2 FROM control_plane.jobs WHERE status = 'running'")
    return claimed
