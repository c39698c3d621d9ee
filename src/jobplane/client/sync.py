"""SyncJobQueue: the same operations for synchronous code, on psycopg 3 (extra `jobplane[psycopg]`)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, Unpack, cast
from uuid import UUID

from jobplane import forking
from jobplane.client import inserts, ops
from jobplane.client.info import CancelResult, JobCounts, JobPage, QueueInfo, Unclaimable, WorkerInfo
from jobplane.client.scheduling import SyncScheduling
from jobplane.client.steps import Pause, Query, Steps
from jobplane.client.turns import Turns
from jobplane.errors import DatabaseError
from jobplane.job import Attempt, EnqueueJobResult, Job, JobPayload, JobStatus, NewJob
from jobplane.options import JobQueueOptions, ScheduleOptions
from jobplane.settings import DatabaseSettings
from jobplane.sql import load
from jobplane.store.adapters import sync_runner
from jobplane.store.bulk import CHUNK
from jobplane.store.doubt import Doubt
from jobplane.store.rows import Row
from jobplane.task import Registry
from jobplane.wakeups import Cancel, LimitChanged

if TYPE_CHECKING:
    from jobplane.store.sync import SyncDatabase

T = TypeVar("T")


class SyncJobQueue(SyncScheduling):
    """Enqueue jobs and look after them, without await. Safe to share between threads.

    The arguments are those of JobQueue, and `registry`: the tasks whose options apply to jobs made by their type. Each
    operation does what its namesake there does.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        options: JobQueueOptions | None = None,
        settings: DatabaseSettings | None = None,
        tenant: str | None = None,
        registry: Registry | None = None,
    ) -> None:
        super().__init__(url, options, settings, tenant, Registry() if registry is None else registry)
        self._database: SyncDatabase | None = None
        self._opening = threading.Lock()
        self._turns = Turns(lambda: self.settings)
        forking.renew_in_child(self._begin_afresh)

    def enqueue(
        self,
        type: str,  # noqa: A002 - the contract's word
        payload: JobPayload | None = None,
        *,
        connection: object = None,
        notify: bool = False,
        **options: Unpack[JobQueueOptions],
    ) -> EnqueueJobResult:
        """Write a job; see JobQueue.enqueue. `connection` is a psycopg Connection, or SQLAlchemy's over psycopg."""
        job = self._defaults.job(type, payload, options)
        return self.enqueue_new(job, connection=connection, notify=notify)

    def schedule(
        self,
        type: str,  # noqa: A002 - the contract's word
        scheduled_at: datetime,
        payload: JobPayload | None = None,
        *,
        connection: object = None,
        notify: bool = False,
        **options: Unpack[ScheduleOptions],
    ) -> EnqueueJobResult:
        """Write a job that is due at a time; see JobQueue.schedule."""
        due = cast("JobQueueOptions", {**options, "scheduled_at": scheduled_at})
        return self.enqueue(type, payload, connection=connection, notify=notify, **due)

    def enqueue_new(
        self, job: NewJob, *, connection: object = None, notify: bool = False
    ) -> EnqueueJobResult:
        """Write a job made by `task.new(...)`."""
        job = self._defaults.fill(job)
        if connection is None:
            with self._turns.of(job):
                result = self._run(inserts.insert_of_our_own([job]))[0]
            if not result.existing:
                self._wake(job.queue)
            return result
        run_statement, schema = sync_runner(connection), self.settings.schema
        steps = ops.within(self._told, inserts.insert_in_transaction([job], schema, notify=notify))
        return perform(steps, lambda query: run_statement(load(query.statement, schema), query.args))[0]

    def enqueue_many(self, jobs: Iterable[NewJob]) -> int:
        """Write any number of jobs by COPY, in constant memory; see JobQueue.enqueue_many."""
        queues: set[str] = set()
        jobs = self._defaults.fill_all(jobs)
        if self._told is not None:
            count = self._insert_chunks(jobs, queues)
        else:
            count = self._opened().copy(jobs, queues)
        for queue in queues:
            self._wake(queue)
        return count

    def get_job(self, job_id: UUID) -> Job | None:
        """One job, or None."""
        return self._run(ops.get_job(job_id))

    def list_jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        type: str | None = None,  # noqa: A002 - the contract's word
        queue: str | None = None,
        tag: str | None = None,
        cursor: str | None = None,
        limit: int = 25,
    ) -> JobPage:
        """A page of jobs, newest first."""
        return self._run(
            ops.list_jobs(status=status, type=type, queue=queue, tag=tag, cursor=cursor, limit=limit)
        )

    def list_attempts(self, job_id: UUID) -> list[Attempt]:
        """The attempts of a job that did not complete, oldest first."""
        return self._run(ops.list_attempts(job_id))

    def wait(self, job_id: UUID, timeout: timedelta | float | None = None) -> Job:
        """Wait until a job has ended; see JobQueue.wait."""
        return self._run(ops.wait(job_id, timeout))

    def count_jobs(self) -> JobCounts:
        """Jobs by status; counts every row."""
        return self._run(ops.count_jobs())

    def list_queues(self) -> list[QueueInfo]:
        """Queues with unfinished jobs, with workers, paused or limited."""
        return self._run(ops.list_queues())

    def list_workers(self) -> list[WorkerInfo]:
        """Workers that have not left in order."""
        return self._run(ops.list_workers())

    def list_unclaimable(self) -> list[Unclaimable]:
        """Due jobs that no living worker can run."""
        return self._run(ops.list_unclaimable())

    def retry(self, job_id: UUID, *, extra_attempts: int = 0) -> None:
        """Run an ended job again, now; see JobQueue.retry."""
        self._wake(self._run(ops.retry(job_id, extra_attempts)))

    def cancel(self, job_id: UUID) -> CancelResult:
        """A pending job never starts; a running one is told to stop; see JobQueue.cancel."""
        result = self._run(ops.cancel(job_id))
        if result is CancelResult.REQUESTED:
            self._wake(Cancel(job_id).word)
        return result

    def pause_queue(self, name: str) -> None:
        """Stop all workers from claiming from a queue."""
        self._run(ops.pause_queue(name))

    def resume_queue(self, name: str) -> None:
        """Let workers claim from a queue again."""
        self._run(ops.resume_queue(name))
        self._wake(name)

    def limit_queue(self, name: str, max_running: int | None) -> None:
        """Let at most so many jobs of a queue run at once, over all workers; see JobQueue.limit_queue."""
        self._run(ops.limit_queue(name, max_running))
        self._wake(LimitChanged(name).word)

    def close(self) -> None:
        """Close all connections. Using the queue again opens new ones."""
        forking.check_process()
        with self._opening:
            database, self._database = self._database, None
        if database is not None:
            database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        database, schema = self._opened(), self.settings.schema

        def run(query: Query) -> Sequence[Row]:
            statement = load(query.statement, schema, verb=query.verb)
            if query.once:
                return database.fetch_exactly_once(statement, query.args)
            return database.fetch(statement, query.args, query.doubt)

        return perform(steps, run)

    def _insert_chunks(self, jobs: Iterable[NewJob], queues: set[str]) -> int:
        # As COPY, which row security refuses: one transaction, constant memory.
        count, doubt = 0, Doubt()
        waiting = iter(jobs)
        with self._opened().transaction(doubt) as connection:
            run, schema = sync_runner(connection), self.settings.schema
            while chunk := list(islice(waiting, CHUNK)):
                steps = inserts.insert_new(chunk)
                count += len(perform(steps, lambda query: run(load(query.statement, schema), query.args)))
                queues.update(job.queue for job in chunk)
            doubt.unanswered = True
        return count

    def _wake(self, word: str) -> None:
        self._opened().wake(word)

    def _begin_afresh(self) -> None:
        self._opening = threading.Lock()  # another thread of the parent may have held it
        database, self._database = self._database, None
        if database is not None:
            database.abandon()

    def _opened(self) -> SyncDatabase:
        forking.check_process()
        with self._opening:
            if self._database is None:
                # Here, not above: psycopg takes a third of the time that importing jobplane takes, and is optional.
                from jobplane.store.sync import SyncDatabase  # noqa: PLC0415

                self._database = SyncDatabase(self.settings, self.tenant)
            return self._database


def perform(steps: Steps[T], run: Callable[[Query], Sequence[Row]]) -> T:
    """Drive an operation without await; see jobplane.client.runtime.perform."""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                step = steps.send(())
                continue
            try:
                rows = run(step)
            except DatabaseError as error:
                step = steps.throw(error)
            else:
                step = steps.send(rows)
    except StopIteration as stop:
        return cast("T", stop.value)
