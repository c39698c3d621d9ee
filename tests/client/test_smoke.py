"""A job goes all the way round."""

from collections.abc import Callable

from jobplane import JobQueue, JobStatus, Worker


async def test_a_job_runs_and_its_result_is_stored(
    queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def double(number: int) -> int:
        return number * 2

    made = await double.enqueue(21)

    async with make_worker(queue):
        job = await queue.wait(made.id, 10)

    assert (job.status, job.result, job.attempts) == (JobStatus.COMPLETED, 42, 1)
