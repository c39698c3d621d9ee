"""JobQueue: the asynchronous front door. What each operation does is in jobplane.client.ops."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar, Unpack, cast
from uuid import UUID

from jobplane.client import inserts, ops
from jobplane.client.info import CancelResult, JobCounts, JobPage, QueueInfo, Unclaimable, WorkerInfo
from jobplane.client.runtime import CurrentRuntime, Runtime, insert_many_on, on_connection, perform
from jobplane.client.scheduling import AsyncScheduling
from jobplane.client.steps import Steps
from jobplane.client.sync import SyncJobQueue
from jobplane.client.tasks import TaskDecorator
from jobplane.job import Attempt, EnqueueJobResult, Job, JobPayload, JobStatus, NewJob
from jobplane.options import JobQueueOptions, ScheduleOptions
from jobplane.settings import DatabaseSettings
from jobplane.task import Registry
from jobplane.wakeups import Cancel, LimitChanged

T = TypeVar("T")


class JobQueue(AsyncScheduling):
    """Enqueue jobs and look after them, from one event loop.

    Nothing is connected before the first use. Use it as `async with`, or call `close()` at the end.

    Args:
        url: where PostgreSQL is; default: DATABASE_URL, else the AUDIT_LOGS_DB_* variables.
        options: defaults for all jobs of this client, under those of their tasks (see JobQueueOptions).
        settings: everything about the database at once, instead of url.
        tenant: whose jobs this client writes; keys are each tenant's own. With settings.row_security it also sees no
            others, once `jobplane tenants enable` has made the server ask.

    Raises:
        InvalidInputError: the tenant is no tenant's name, or one of the options is outside its limit.
        ConfigurationError: nothing says where the database is (on first use).
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        options: JobQueueOptions | None = None,
        settings: DatabaseSettings | None = None,
        tenant: str | None = None,
    ) -> None:
        self.registry = Registry()
        self.task = TaskDecorator(lambda: self, self.registry)
        super().__init__(url, options, settings, tenant, self.registry)
        self._current = CurrentRuntime(lambda: Runtime(self.settings, self.tenant))
        self._sync: SyncJobQueue | None = None

    @property
    def sync(self) -> SyncJobQueue:
        """The same queue for synchronous code, with connections of its own."""
        if self._sync is None:
            self._sync = SyncJobQueue(options=self.options, settings=self.settings, registry=self.registry)
        return self._sync

    # -- enqueueing ----------------------------------------------------------------------------------

    async def enqueue(
        self,
        type: str,  # noqa: A002 - the contract's word
        payload: JobPayload | None = None,
        *,
        connection: object = None,
        notify: bool = False,
        **options: Unpack[JobQueueOptions],
    ) -> EnqueueJobResult:
        """Write a job; it is durable on return (or, with a connection, when its transaction commits).

        Args:
            type: what to do: 1 to 100 characters of A-Z, a-z, 0-9, "_" and "-".
            payload: a JSON object of at most 1 MiB; default {}. Whether it fits the task is for the worker to check.
            connection: the caller's own asyncpg, psycopg or SQLAlchemy connection or session.
            notify: with a connection: wake the workers at its commit, at the price that such commits
                happen one by one. Without it they find the job at their next poll.
            options: delay, priority, max_attempts and more: see JobQueueOptions. What is left out comes from the
                task of this type, where this queue has it, then from the client.

        Raises:
            InvalidInputError: a value is outside its limit; nothing was written.
            UnsupportedConnectionError: the connection is of an unknown kind, or synchronous.
            DatabaseError: the database refused, or was away for longer than settings.patience.
        """
        job = self._defaults.job(type, payload, options)
        return await self.enqueue_new(job, connection=connection, notify=notify)

    async def schedule(
        self,
        type: str,  # noqa: A002 - the contract's word
        scheduled_at: datetime,
        payload: JobPayload | None = None,
        *,
        connection: object = None,
        notify: bool = False,
        **options: Unpack[ScheduleOptions],
    ) -> EnqueueJobResult:
        """As `enqueue`, due at a timezone-aware time at most a year ahead; one in the past is due at once."""
        due = cast("JobQueueOptions", {**options, "scheduled_at": scheduled_at})
        return await self.enqueue(type, payload, connection=connection, notify=notify, **due)

    async def enqueue_new(
        self, job: NewJob, *, connection: object = None, notify: bool = False
    ) -> EnqueueJobResult:
        """Write a job made by `task.new(...)`."""
        job = self._defaults.fill(job)
        if connection is not None:
            schema = self.settings.schema
            steps = ops.within(self._told, inserts.insert_in_transaction([job], schema, notify=notify))
            return (await perform(steps, on_connection(connection, schema)))[0]
        runtime = self._current.get()
        result = await runtime.batcher.insert(job)
        if not result.existing:
            runtime.notifier.wake(job.queue)
        return result

    async def enqueue_many(
        self,
        jobs: Iterable[NewJob] | AsyncIterable[NewJob],
        *,
        connection: object = None,
        notify: bool = False,
    ) -> int:
        """Write any number of jobs by COPY, in constant memory; returns how many.

        One transaction: either all are there afterwards or none. Jobs with an idempotency key, a chosen id or
        a unique key that exists already make it fail; use `enqueue` for those.

        Args:
            jobs: from `task.new(...)` or `jobplane.new_job(...)`.
            connection: the caller's own asyncpg connection (COPY); others get multi-row inserts.
            notify: as for `enqueue`.
        """
        jobs = self._defaults.fill_all(jobs)
        if connection is not None:
            schema = self.settings.schema
            return await insert_many_on(connection, jobs, schema, notify=notify, tenant=self._told)
        return await self._current.get().copy(jobs)

    # -- reading -------------------------------------------------------------------------------------

    async def get_job(self, job_id: UUID, *, connection: object = None) -> Job | None:
        """One job, or None. With a connection: as its transaction sees it."""
        if connection is not None:
            run = on_connection(connection, self.settings.schema)
            return await perform(ops.within(self._told, ops.get_job(job_id)), run)
        return await self._run(ops.get_job(job_id))

    async def list_jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        type: str | None = None,  # noqa: A002 - the contract's word
        queue: str | None = None,
        tag: str | None = None,
        cursor: str | None = None,
        limit: int = 25,
    ) -> JobPage:
        """A page of jobs, newest first: 1 to 100 of them, and the cursor of the next page."""
        return await self._run(
            ops.list_jobs(status=status, type=type, queue=queue, tag=tag, cursor=cursor, limit=limit)
        )

    async def list_attempts(self, job_id: UUID) -> list[Attempt]:
        """The attempts of a job that did not complete, oldest first."""
        return await self._run(ops.list_attempts(job_id))

    async def wait(self, job_id: UUID, timeout: timedelta | float | None = None) -> Job:
        """Wait until a job has ended.

        Args:
            job_id: the job.
            timeout: the longest wait, as timedelta or seconds; default: for ever.

        Raises:
            WaitTimeoutError: it had not ended by then. The job itself goes on.
            JobNotFoundError: there is no such job.
        """
        return await self._run(ops.wait(job_id, timeout))

    async def count_jobs(self) -> JobCounts:
        """Jobs by status, in some milliseconds whatever the table's size: large numbers are estimates, and say so."""
        return await self._run(ops.count_jobs())

    async def list_queues(self) -> list[QueueInfo]:
        """Queues with unfinished jobs, with workers, paused or limited."""
        return await self._run(ops.list_queues())

    async def list_workers(self) -> list[WorkerInfo]:
        """Workers that have not left in order."""
        return await self._run(ops.list_workers())

    async def list_unclaimable(self) -> list[Unclaimable]:
        """Due jobs that no living worker can run, by queue and type."""
        return await self._run(ops.list_unclaimable())

    # -- changing ------------------------------------------------------------------------------------

    async def retry(self, job_id: UUID, *, extra_attempts: int = 0) -> None:
        """Run an ended job again, now.

        Args:
            job_id: a completed, failed or cancelled job.
            extra_attempts: how many attempts to grant beyond max_attempts; 0 to 100.

        Raises:
            AttemptsExhaustedError: all attempts are used up and none were granted.
            UniqueKeyTakenError: another unfinished job holds its unique key.
            JobStateError: it has not ended.
            JobNotFoundError: there is no such job.
        """
        queue = await self._run(ops.retry(job_id, extra_attempts))
        self._wake(queue)

    async def cancel(self, job_id: UUID) -> CancelResult:
        """A pending job never starts; a running one is told to stop.

        Raises JobStateError when it has completed or failed already, JobNotFoundError when there is none.
        """
        result = await self._run(ops.cancel(job_id))
        if result is CancelResult.REQUESTED:
            self._wake(Cancel(job_id).word)
        return result

    async def pause_queue(self, name: str) -> None:
        """Stop all workers from claiming from a queue; running jobs go on."""
        await self._run(ops.pause_queue(name))

    async def resume_queue(self, name: str) -> None:
        """Let workers claim from a queue again."""
        await self._run(ops.resume_queue(name))
        self._wake(name)

    async def limit_queue(self, name: str, max_running: int | None) -> None:
        """Let at most so many jobs of a queue run at once, over all workers, from the next claim on.

        With 1 its jobs run one by one in strict order (priority, then due time). None lifts the limit. Running jobs go
        on in any case. Raises InvalidInputError for anything but 1 to 100,000.
        """
        await self._run(ops.limit_queue(name, max_running))
        self._wake(LimitChanged(name).word)

    # -- life ----------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Send outstanding wake-ups and close all connections. Using the queue again opens new ones."""
        await self._current.close()
        sync, self._sync = self._sync, None
        if sync is not None:
            sync.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, steps: Steps[T]) -> T:
        return await perform(steps, self._current.get().run)

    def _wake(self, word: str) -> None:
        self._current.get().notifier.wake(word)
