"""Changes of a client whose answers are lost, and values that must arrive as they were given (I1, I10)."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

import pytest

from jobplane import DatabaseSettings, InvalidArgumentsError, JobplaneError, JobQueue, task
from tests.faults.proxy import FaultProxy
from tests.faults.run import FaultRun

LOST = ("jobplane: job/retry", "COMMIT")
"""The answer to the change itself, and that to its commit."""


@pytest.mark.parametrize("colour", ["async", "sync"])
async def test_a_retry_whose_answer_is_lost_is_done_once(fault_run: FaultRun, colour: str) -> None:
    run = fault_run
    made = await run.client.enqueue("work", {}, key="retried", max_attempts=1)
    async with (
        FaultProxy(run.url, run.random) as proxy,
        JobQueue(settings=DatabaseSettings(url=proxy.url, network_timeout=timedelta(seconds=2))) as queue,
    ):
        for number, lost in enumerate(LOST, 1):
            await run.fetch(
                "UPDATE control_plane.jobs SET status = 'failed', completed_at = now() WHERE id = $1", made.id
            )
            proxy.lose_answers(lost)
            try:
                await _retry(queue, made.id, colour)
            except JobplaneError as error:
                raise AssertionError(f"I10: a retry that was done was answered with {error!r}") from error
            job = await run.job(made.id)
            assert (job.status, job.max_attempts) == ("pending", 1 + number), (
                f"I10: {number} retries of one attempt each granted {job.max_attempts - 1}"
            )
        swallowed = proxy.swallowed
    assert swallowed == len(LOST)


async def _retry(queue: JobQueue, job_id: UUID, colour: str) -> None:
    if colour == "async":
        await queue.retry(job_id, extra_attempts=1)
    else:
        await asyncio.to_thread(queue.sync.retry, job_id, extra_attempts=1)


@task
async def takes_anything(value) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - nothing says what it takes
    """A handler whose author did not say what it takes."""


async def test_a_value_that_would_arrive_as_another_is_refused(fault_run: FaultRun) -> None:
    """A tuple is a list in JSON, and a time is text: without an annotation nothing turns them back."""
    for value in ((1, 2), {"at": timedelta(seconds=1)}):
        try:
            takes_anything.new(value)
        except InvalidArgumentsError:
            continue
        raise AssertionError(f"I1: {value!r} would arrive as something else, and was taken")
