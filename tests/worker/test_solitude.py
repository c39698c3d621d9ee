"""A job that may have killed its workers gets its last try alone (F19): nothing else runs beside it, and nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from uuid import UUID

from jobplane import JobContext, JobQueue, JobStatus, Worker
from jobplane.events import JobLost, JobSetApart, JobStarted
from tests.factories import SQL, make_job, row_of
from tests.support import Recorder, until

MakeWorker = Callable[..., Worker]


async def suspect(sql: SQL, crashes: int = 2, payload: Mapping[str, object] | None = None) -> UUID:
    """A pending job whose workers died, each time with this job in hand."""
    async with sql.transaction():
        job_id = await make_job(sql, attempts=crashes, lease_epoch=crashes, priority=9, payload=payload or {})
        for epoch in range(1, crashes + 1):
            await sql.execute(
                "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome, worker_id) "
                "VALUES ($1, $2::integer, $2::integer, 'crashed', 'dead')",
                job_id,
                epoch,
            )
    return job_id


class Company:
    """Which jobs ran at the same time as which."""

    def __init__(self, queue: JobQueue) -> None:
        self.now: set[str] = set()
        self.met: dict[str, set[str]] = {}

        @queue.task
        async def work(name: str = "suspect", seconds: float = 0.05) -> None:
            self.now.add(name)
            for one in self.now:
                self.met.setdefault(one, set()).update(self.now)
            await asyncio.sleep(seconds)
            self.now.discard(name)

        self.task = work


async def test_a_suspects_last_try_runs_alone_in_the_whole_worker(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    company = Company(queue)
    worker = make_worker(queue, queues="default:4,other:4")
    recorder = Recorder(worker.events, JobSetApart, JobStarted)

    async with worker:
        running = await company.task.with_options(queue="other").enqueue("long before", 0.5)
        await recorder.wait_for(JobStarted)
        job_id = await suspect(sql)
        others = [
            await company.task.with_options(queue=name).enqueue(f"{name} {number}")
            for number in range(10)
            for name in ("default", "other")
        ]
        job = await queue.wait(job_id, 20)
        ended = [await queue.wait(made.id, 20) for made in (running, *others)]

    assert (job.status, job.attempts) == (JobStatus.COMPLETED, 3)
    assert company.met["suspect"] == {"suspect"}
    assert {one.status for one in ended} == {JobStatus.COMPLETED}
    assert {one.attempts for one in ended} == {1}, "what was handed back for its sake lost no attempt"
    (apart,) = recorder.of(JobSetApart)
    assert (apart.claim.id, apart.claim.crashes) == (job_id, 2)


async def test_the_database_knows_that_a_suspect_begins_before_it_does(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    """I6: a rescue that finds no such note gives the attempt back, since the handler cannot have begun."""

    @queue.task
    async def work(ctx: JobContext) -> bool:
        note = "SELECT isolated_epoch FROM control_plane.jobs WHERE id = $1"
        return bool(await sql.fetchval(note, ctx.job.id) == ctx.epoch)

    ids = [await suspect(sql), await make_job(sql)]

    async with make_worker(queue):
        noted = [(await queue.wait(job_id, 20)).result for job_id in ids]

    assert noted == [True, False], "one commit more, for suspects alone"


async def test_a_suspect_that_was_taken_back_while_it_waited_does_not_begin(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    """I5: the note is written under the claim's epoch; who lost the claim neither writes nor begins."""
    company = Company(queue)
    worker = make_worker(queue, queues="default:4", heartbeat_interval=15, lease=45)
    recorder = Recorder(worker.events, JobSetApart, JobStarted, JobLost)
    async with worker:
        await company.task.enqueue("long", 1)
        await recorder.wait_for(JobStarted)
        job_id = await suspect(sql)
        await recorder.wait_for(JobSetApart)
        await sql.execute("UPDATE control_plane.jobs SET lease_epoch = 9 WHERE id = $1", job_id)
        await recorder.wait_for(JobLost)
        quick = await company.task.enqueue("quick")
        assert (await queue.wait(quick.id, 20)).status is JobStatus.COMPLETED

    assert "suspect" not in company.met


async def test_several_suspects_run_one_after_the_other(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    company = Company(queue)
    names = [f"suspect {number}" for number in range(4)]
    ids = [await suspect(sql, payload={"name": name}) for name in names]

    async with make_worker(queue, queues="default:4"):
        jobs = [await queue.wait(job_id, 20) for job_id in ids]

    assert {(job.status, job.attempts) for job in jobs} == {(JobStatus.COMPLETED, 3)}
    assert all(company.met[name] == {name} for name in names)


async def test_a_first_crash_isolates_nobody_so_a_lost_machine_costs_no_concurrency(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    company = Company(queue)
    ids = [await suspect(sql, 1, payload={"name": f"job {number}", "seconds": 0.3}) for number in range(4)]
    worker = make_worker(queue, queues="default:4")
    recorder = Recorder(worker.events, JobSetApart)

    async with worker:
        for job_id in ids:
            await queue.wait(job_id, 20)

    assert recorder.of(JobSetApart) == []
    assert company.met["job 0"] == {f"job {number}" for number in range(4)}


async def test_a_suspect_that_cannot_be_alone_is_handed_back_and_the_others_go_on(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    company = Company(queue)
    worker = make_worker(queue, queues="default:4")
    recorder = Recorder(worker.events, JobSetApart, JobStarted)

    async with worker:
        await company.task.enqueue("endless", 60)
        await recorder.wait_for(JobStarted)
        job_id = await suspect(sql)
        await recorder.wait_for(JobSetApart)

        async def handed_back() -> bool:
            row = await row_of(sql, job_id)
            return bool(row["status"] == "pending" and row["lease_epoch"] == 3)

        await until(handed_back, 30)
        quick = await company.task.enqueue("quick")
        assert (await queue.wait(quick.id, 20)).status is JobStatus.COMPLETED
        row = await row_of(sql, job_id)
        await worker.stop(grace=0)

    assert (row["attempts"], row["status"]) == (2, "pending")
    assert await sql.fetchval("SELECT scheduled_at > now() FROM control_plane.jobs WHERE id = $1", job_id), (
        "it tries again later"
    )
    assert "suspect" not in company.met


async def test_a_worker_that_stops_hands_back_the_suspect_that_waits(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    company = Company(queue)
    worker = make_worker(queue, queues="default:4")
    recorder = Recorder(worker.events, JobSetApart, JobStarted)
    async with worker:
        await company.task.enqueue("long", 1)
        await recorder.wait_for(JobStarted)
        job_id = await suspect(sql)
        await recorder.wait_for(JobSetApart)

    row = await row_of(sql, job_id)
    assert (row["status"], row["attempts"], row["lease_expires_at"]) == ("pending", 2, None)
    assert "suspect" not in company.met


async def test_a_suspect_that_waits_keeps_its_lease_and_can_be_cancelled(
    queue: JobQueue, make_worker: MakeWorker, sql: SQL
) -> None:
    """I8, I12."""
    company = Company(queue)
    worker = make_worker(queue, queues="default:4")
    recorder = Recorder(worker.events, JobSetApart, JobStarted)
    async with worker:
        await company.task.enqueue("long", 8)
        await recorder.wait_for(JobStarted)
        job_id = await suspect(sql)
        await recorder.wait_for(JobSetApart)
        first = (await row_of(sql, job_id))["lease_expires_at"]

        async def renewed() -> bool:
            return bool((await row_of(sql, job_id))["lease_expires_at"] > first + timedelta(seconds=0.3))

        await until(renewed)
        await queue.cancel(job_id)
        job = await queue.wait(job_id, 5)
        assert job.status is JobStatus.CANCELLED
        quick = await company.task.enqueue("quick")
        await queue.wait(quick.id, 5)
        await worker.stop(grace=0)
