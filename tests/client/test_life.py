"""The life of a client: lazily opened, closed and opened again, on one event loop after the other."""

from __future__ import annotations

import asyncio

from jobplane import DatabaseSettings, JobQueue, new_job
from tests.factories import SQL, count_jobs

BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'jobplane'"


async def test_a_client_that_was_never_used_connects_to_nothing(database_url: str, sql: SQL) -> None:
    async with JobQueue(database_url) as queue:
        new_job("work", {})
        assert queue.settings.url == database_url
    await queue.close()

    assert await sql.fetchval(BACKENDS) == 0


async def test_leaving_closes_every_connection(database_url: str, sql: SQL) -> None:
    async with JobQueue(database_url) as queue:
        await asyncio.gather(
            *(queue.enqueue("work") for _ in range(20)), *(queue.count_jobs() for _ in range(20))
        )
        assert await sql.fetchval(BACKENDS) > 0

    assert await sql.fetchval(BACKENDS) == 0
    assert await count_jobs(sql) == 20


async def test_closed_it_opens_again_and_closing_twice_is_fine(queue: JobQueue, sql: SQL) -> None:
    for number in range(1, 4):
        await queue.enqueue("work")
        await queue.close()
        await queue.close()
        assert await count_jobs(sql) == number


async def test_one_client_serves_one_event_loop_after_the_other(database_url: str, sql: SQL) -> None:
    """As in scripts that call asyncio.run more than once."""
    queue = JobQueue(database_url)

    async def use() -> bool:
        async with queue:
            return (await queue.enqueue("work", idempotency_key="k")).existing

    def run_twice() -> list[bool]:
        return [asyncio.run(use()) for _ in range(2)]

    assert await asyncio.to_thread(run_twice) == [False, True]
    assert await count_jobs(sql) == 1


async def test_many_tasks_share_one_client(settings: DatabaseSettings, sql: SQL) -> None:
    async with JobQueue(settings=settings) as queue:
        results = await asyncio.gather(*(queue.enqueue("work", {"n": n}) for n in range(300)))
        found = await asyncio.gather(*(queue.get_job(result.id) for result in results))

    assert [job.payload if job else None for job in found] == [{"n": n} for n in range(300)]
    assert await count_jobs(sql) == 300
