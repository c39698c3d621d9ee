"""An executor on a bench: one task, its slots, what it emitted and reported; no database."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from jobplane import Registry, task
from jobplane.events import Event, Events, JobFinished, JobLost, JobStarted, ResultNotStored
from jobplane.ids import new_job_id
from jobplane.job import Claim
from jobplane.outcome import Outcome
from jobplane.retry import DEFAULT_RETRY, RetryPolicy
from jobplane.task import AnyTask
from jobplane.worker.executor import Executor
from jobplane.worker.slots import QueueSlots
from jobplane.worker.threads import Threads

SECOND = timedelta(seconds=1)
NOW = datetime.now(UTC)


def claimed(
    type: str = "handler",  # noqa: A002 - the contract's word
    attempt: int = 1,
    max_attempts: int = 3,
    *,
    payload: str = "{}",
    lease: float = 45.0,
    policy: str | None = None,
) -> Claim:
    """A claim that was just made; its lease ends so many seconds from now."""
    return Claim(
        id=new_job_id(),
        type=type,
        payload=payload,
        attempt=attempt,
        max_attempts=max_attempts,
        epoch=attempt,
        queue="default",
        priority=0,
        scheduled_at=NOW,
        created_at=NOW,
        started_at=NOW,
        unique_key=None,
        tags=(),
        progress=None,
        retry_policy=policy,
        lease_ends=time.monotonic() + lease,
    )


class Bench:
    """An executor with one task, its queue's slots, and what it emitted."""

    def __init__(self, *tasks: AnyTask, timeout: timedelta | None = None) -> None:
        self.slots = QueueSlots("default", 4)
        self.seen: list[Event] = []
        self.progress: list[tuple[UUID, str]] = []
        events = Events()
        for kind in (JobStarted, JobFinished, JobLost, ResultNotStored):
            events.subscribe(kind, self.seen.append)
        self.threads = Threads(2)
        self.executor = Executor(
            Registry(tasks), self.threads, events, timeout, timedelta(seconds=45), self._report
        )

    def _report(self, claim: Claim, progress: str) -> None:
        self.progress.append((claim.id, progress))

    async def run(self, claim: Claim | None = None) -> Outcome:
        """Run one claim in a task of its own, as a runner does."""

        async def job() -> Outcome:
            me = asyncio.current_task()
            assert me is not None
            return await self.executor.execute(claim or claimed(), self.slots, me)

        try:
            return await asyncio.create_task(job())
        finally:
            self.threads.close()


def returning(value: object, *, store_result: bool = True, policy: RetryPolicy = DEFAULT_RETRY) -> AnyTask:
    """A task that returns something."""

    @task(store_result=store_result, retry=policy)
    async def handler() -> object:
        return value

    return handler


def raising(error: BaseException, policy: RetryPolicy = DEFAULT_RETRY) -> AnyTask:
    """A task that raises something."""

    @task(retry=policy)
    async def handler() -> None:
        raise error

    return handler
