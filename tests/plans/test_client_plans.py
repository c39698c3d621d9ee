"""What clients, operators and anybody with psql ask beside a million finished rows."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pytest

from jobplane import JobQueue, JobStatus
from jobplane.sql import SQLValue, load
from tests.factories import SQL
from tests.plans.conftest import FINISHED
from tests.plans.explain import Mode, explain, explain_statement
from tests.plans.test_worker_plans import job_id

BY_KEY: Final[dict[str, dict[str, SQLValue]]] = {
    "job/get": {"id": job_id(7)},
    "job/status": {"id": job_id(7)},
    "job/cancel": {"id": job_id(FINISHED + 200)},
    "job/retry": {"id": job_id(100), "extra_attempts": 5},
}
LIST: Final[dict[str, SQLValue]] = {
    "status": None,
    "type": None,
    "queue": None,
    "tag": None,
    "before": None,
    "limit": 26,
    "scan": 20_000,
}
BOUNDS: Final[dict[str, SQLValue]] = {"exact": 10_000, "sample": 400}
in_each_mode = pytest.mark.parametrize("mode", ["custom", "generic"])


async def test_a_query_by_status_uses_idx_jobs_status(client: SQL) -> None:
    for status in ("failed", "cancelled", "running"):
        plan = await explain(
            client, f"SELECT id, type FROM control_plane.jobs WHERE status = '{status}'", run=True
        )
        assert plan.indexes == {"idx_jobs_status"}, plan.text


@pytest.mark.parametrize("jobs_url", ["analysed"], indirect=True)
async def test_a_query_by_due_time_uses_idx_jobs_scheduled_at(client: SQL) -> None:
    """Once analysed: the BRIN index summarises ranges, which a fresh load does not have yet."""
    plan = await explain(
        client,
        "SELECT id FROM control_plane.jobs "
        "WHERE scheduled_at BETWEEN now() - interval '29 days 1 hour' AND now() - interval '29 days'",
        run=True,
    )

    assert plan.indexes == {"idx_jobs_scheduled_at"}, plan.text
    assert plan.buffers < 500


async def test_polling_by_status_and_due_time_is_served_by_the_polling_index(client: SQL) -> None:
    plan = await explain(
        client,
        "SELECT id FROM control_plane.jobs WHERE status = 'pending' AND scheduled_at <= now() "
        "ORDER BY scheduled_at LIMIT 10",
        run=True,
    )

    assert plan.indexes == {"idx_jobs_status_scheduled_at"}, plan.text
    assert plan.buffers < 500


@in_each_mode
@pytest.mark.parametrize("name", BY_KEY)
async def test_what_names_its_job_finds_it_by_the_key(client: SQL, name: str, mode: Mode) -> None:
    plan = await explain_statement(client, load(name), BY_KEY[name], mode, run=True)

    assert plan.indexes == {"jobs_pkey"}, plan.text
    assert plan.buffers < 60


@in_each_mode
async def test_the_holder_of_a_key_is_found_by_the_keys_index(client: SQL, mode: Mode) -> None:
    args: dict[str, SQLValue] = {"ids": [job_id(7)], "unique_keys": [f"key-{FINISHED + 150}"]}

    plan = await explain_statement(client, load("job/find_twins"), args, mode, run=True)

    assert plan.indexes == {"jobs_pkey", "idx_jobs_unique_key"}, plan.text
    assert plan.buffers < 60


@pytest.mark.parametrize("status", [None, "failed", "cancelled", "running", "pending", "completed"])
async def test_a_page_of_jobs_costs_a_page(client: SQL, status: str | None) -> None:
    plan = await explain_statement(client, load("job/list"), {**LIST, "status": status}, run=True)

    assert plan.scans("jobs") == {"Index Scan"}, plan.text
    assert plan.buffers < 500


async def test_a_client_that_lists_often_keeps_the_plans_for_its_filters(client: SQL) -> None:
    """A plan for any filter would walk the whole table for a rare one."""
    statement = load("job/list")
    prepared = await client.prepare(statement.numbered)

    for _ in range(12):
        assert len(await prepared.fetch(*statement.positions({**LIST, "status": "failed"}))) == 26

    plans = await client.fetchrow(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1",
        statement.numbered,
    )
    assert plans is not None
    assert tuple(plans) == (0, 12)


@in_each_mode
@pytest.mark.parametrize("name", ["queue/list", "stats/unclaimable"])
async def test_an_overview_reads_unfinished_jobs_only(client: SQL, name: str, mode: Mode) -> None:
    plan = await explain_statement(client, load(name), {"alive_within": 60.0, **BOUNDS}, mode, run=True)

    assert plan.indexes >= {"idx_jobs_status_scheduled_at"}, plan.text
    assert "Seq Scan" not in plan.scans("jobs")
    assert plan.buffers < 3000


@in_each_mode
@pytest.mark.parametrize("name", ["type", "queue", "tag"])
async def test_a_page_for_a_filter_without_an_index_looks_at_so_many_jobs_and_no_more(
    client: SQL, name: str, mode: Mode
) -> None:
    plan = await explain_statement(client, load("job/list"), {**LIST, name: "nobody"}, mode, run=True)

    assert "Seq Scan" not in plan.scans("jobs"), plan.text
    assert plan.buffers < 2 * 20_000


@in_each_mode
async def test_counting_a_million_jobs_reads_some_of_the_tables_pages(client: SQL, mode: Mode) -> None:
    plan = await explain_statement(client, load("stats/counts"), BOUNDS, mode, run=True)

    assert "Seq Scan" not in plan.scans("jobs"), plan.text
    assert plan.buffers < 25_000


async def test_large_counts_are_estimates_and_say_so_and_small_ones_are_exact(jobs_url: str) -> None:
    """S12."""
    async with JobQueue(url=jobs_url) as queue:
        counts = await queue.count_jobs()
        again = await queue.count_jobs()

    exact = {
        JobStatus.PENDING: 4900,
        JobStatus.RUNNING: 100,
        JobStatus.FAILED: 10_000,
        JobStatus.CANCELLED: 10_000,
    }
    assert counts.estimated == {JobStatus.COMPLETED}
    assert {status: counts[status] for status in exact} == exact
    assert 730_000 < counts[JobStatus.COMPLETED] < 1_230_000, "five standard deviations"
    assert counts != again, "an estimate is of other pages each time"


async def test_a_search_goes_on_from_page_to_page_to_the_last_job(jobs_url: str, client: SQL) -> None:
    """Short pages lose nothing: the oldest job of all is found, once."""
    async with JobQueue(url=jobs_url) as queue:
        cursor, pages = None, 0
        found = []
        while True:
            page = await queue.list_jobs(status="completed", queue="mail", limit=100, cursor=cursor)
            found += [job.id for job in page.jobs]
            pages += 1
            if pages == 3:
                break
            assert page.next_cursor is not None
            cursor = page.next_cursor
        first = await client.fetchval(
            "SELECT id FROM control_plane.jobs WHERE id < $1 ORDER BY id DESC OFFSET 30000 LIMIT 1",
            job_id(40_000),
        )
        rare = []
        cursor = job_id(40_000)
        while cursor is not None:
            page = await queue.list_jobs(type="unheard_of", cursor=cursor)
            rare.append(len(page.jobs))
            cursor = page.next_cursor

    assert len(found) == len(set(found)) == 300
    assert first is not None
    assert rare == [0, 0], "two windows of 20,000 jobs"


async def test_the_load_is_what_these_tests_say_it_is(client: SQL) -> None:
    rows = await client.fetch("SELECT status, count(*) AS jobs FROM control_plane.jobs GROUP BY status")

    assert {row["status"]: row["jobs"] for row in rows} == {
        "completed": 980_000,
        "failed": 10_000,
        "cancelled": 10_000,
        "running": 100,
        "pending": 4900,
    }
    first = await client.fetchval("SELECT created_at FROM control_plane.jobs WHERE id = $1", job_id(1))
    assert isinstance(first, datetime)
