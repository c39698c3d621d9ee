"""The hot statements keep their plans beside a million finished rows, whatever the statistics say.

A plan that flips is a queue that stops: each of these was once seen to sort, or to read, the whole table.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import pytest

from jobplane.sql import SQLValue, load
from tests.factories import SQL
from tests.plans.conftest import FINISHED
from tests.plans.explain import Mode, explain_statement

BATCH = 50


def job_id(number: int) -> str:
    """The id of the n-th job that was loaded."""
    text = f"{1700000000000 + number:012x}70008000{number:012x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


RUNNING = [job_id(FINISHED + number) for number in range(1, BATCH + 1)]
ONES = [1] * BATCH
CLAIM: dict[str, SQLValue] = {
    "lease": 45.0,
    "worker_id": "w",
    "queue": "default",
    "types": ["rotate_key"],
    "limit": BATCH,
}
BY_ID: dict[str, dict[str, SQLValue]] = {
    "job/complete": {"ids": RUNNING, "epochs": ONES},
    "job/complete_epoch": {"ids": RUNNING, "epoch": 1},
    "job/finish": {
        "ids": RUNNING,
        "epochs": ONES,
        "statuses": ["failed"] * BATCH,
        "delays": [None] * BATCH,
        "given_back": [0] * BATCH,
        "results": [None] * BATCH,
        "last_errors": ["E: m"] * BATCH,
        "reasons": ["failed"] * BATCH,
        "error_types": ["E"] * BATCH,
        "messages": ["m"] * BATCH,
        "frames": ["[]"] * BATCH,
    },
    "job/renew": {"ids": RUNNING, "epochs": ONES, "lease": 45.0},
    "job/progress": {"ids": RUNNING, "epochs": ONES, "reports": ["{}"] * BATCH},
    "job/cancel_requested": {"ids": RUNNING, "epochs": ONES},
}

in_each_mode = pytest.mark.parametrize("mode", ["custom", "generic"])


@in_each_mode
async def test_a_claim_walks_the_polling_index_and_touches_few_pages(worker: SQL, mode: Mode) -> None:
    plan = await explain_statement(worker, load("job/claim"), CLAIM, mode, run=True)

    assert plan.indexes == {
        "idx_jobs_status_scheduled_at",
        "jobs_pkey",
        "queues_pkey",
        "epochs_pkey",
        "job_attempts_pkey",
    }, plan.text
    assert plan.scans("jobs") == {"ModifyTable", "Index Scan"}
    assert "Sort" not in plan.nodes, "the index is in claim order"
    assert "Limit" in plan.init_plans, (
        "run again inside of a join, it would claim more than its limit (BUG #15715)"
    )
    assert plan.filtered == 0
    assert plan.buffers < 20 * BATCH
    assert plan.unused == {"job_attempts_pkey"}, (
        "a job that was never claimed before has no crashes to look for"
    )
    assert plan.loops["epochs_pkey"] == 1, "once for the statement, not for each job"


@in_each_mode
async def test_a_claim_that_goes_on_enters_the_polling_index_at_its_marks(worker: SQL, mode: Mode) -> None:
    """It reads nothing that lies before them: neither waiting jobs nor what is left of claimed ones."""
    marks = await worker.fetch(
        """
        SELECT DISTINCT ON (priority) priority, scheduled_at, id FROM control_plane.jobs
        WHERE status = 'pending' AND queue = 'default' AND scheduled_at <= now() - interval '20 minutes'
        ORDER BY priority DESC, scheduled_at DESC, id DESC
        """
    )
    args: dict[str, SQLValue] = {
        **CLAIM,
        "priorities": [mark["priority"] for mark in marks],
        "ats": [mark["scheduled_at"].isoformat() for mark in marks],
        "ids": [str(mark["id"]) for mark in marks],
    }

    plan = await explain_statement(worker, load("job/claim_onward"), args, mode, run=True)

    assert len(marks) == 3
    known = {"idx_jobs_status_scheduled_at", "jobs_pkey", "queues_pkey", "epochs_pkey", "job_attempts_pkey"}
    assert plan.indexes == known, plan.text
    assert plan.scans("jobs") == {"ModifyTable", "Index Scan"}
    assert "Sort" not in plan.nodes, "the index is in claim order"
    assert "Limit" in plan.init_plans, (
        "run again inside of a join, it would claim more than its limit (BUG #15715)"
    )
    assert plan.filtered == 0
    assert plan.buffers < 20 * BATCH


@in_each_mode
async def test_a_claim_that_finds_nothing_touches_nearly_nothing(worker: SQL, mode: Mode) -> None:
    """What an idle worker asks every second."""
    plan = await explain_statement(worker, load("job/claim"), {**CLAIM, "queue": "empty"}, mode, run=True)

    assert "idx_jobs_status_scheduled_at" in plan.indexes
    assert plan.buffers < 20


@in_each_mode
async def test_a_claim_under_a_limit_walks_the_polling_index_and_counts_running_rows_only(
    worker: SQL, mode: Mode
) -> None:
    args = {**CLAIM, "max_running": 200}

    plan = await explain_statement(worker, load("job/claim_limited"), args, mode, run=True)

    known = {
        "idx_jobs_status_scheduled_at",
        "idx_jobs_status",
        "jobs_pkey",
        "epochs_pkey",
        "job_attempts_pkey",
    }
    assert plan.indexes == known, plan.text
    assert plan.scans("jobs") == {"ModifyTable", "Index Scan"}
    assert "Sort" not in plan.nodes, "the index is in claim order"
    assert plan.filtered <= 10, "the running rows of the other queue"
    assert plan.buffers < 30 * BATCH, "as a plain claim, and the running rows that are counted"


@in_each_mode
async def test_asking_a_queue_for_its_limit_touches_nearly_nothing(worker: SQL, mode: Mode) -> None:
    """What an idle worker asks after an empty claim; here the queue has none."""
    args: dict[str, SQLValue] = {"queue": "default", "types": ["rotate_key"]}

    plan = await explain_statement(worker, load("queue/room"), args, mode, run=True)

    assert "Seq Scan" not in plan.scans("jobs"), plan.text
    assert plan.indexes == {"idx_jobs_status_scheduled_at", "idx_jobs_status", "queues_pkey"}
    assert plan.buffers < 5


@in_each_mode
@pytest.mark.parametrize("name", BY_ID)
async def test_what_names_its_jobs_finds_them_by_the_key(worker: SQL, name: str, mode: Mode) -> None:
    plan = await explain_statement(worker, load(name), BY_ID[name], mode, run=True)

    assert plan.indexes == {"jobs_pkey"}, plan.text
    assert plan.scans("jobs") <= {"ModifyTable", "Index Scan"}
    assert plan.buffers < 40 * BATCH


@pytest.fixture
async def thousand_schedules(worker: SQL) -> AsyncIterator[SQL]:
    """A thousand schedules of which ten are due, and a hundred thousand ticks; gone afterwards."""
    transaction = worker.transaction()
    await transaction.start()
    await worker.execute(
        "INSERT INTO control_plane.schedules (name, cron, type, last_tick, look_at) "
        "SELECT 's' || n, '@hourly', 'rotate_key', now() - interval '1 hour', "
        "now() + (n - 10.5) * interval '1 minute' FROM generate_series(1, 1000) AS n"
    )
    await worker.execute(
        "INSERT INTO control_plane.schedule_ticks (schedule, tick, job_id) "
        "SELECT 's' || n % 1000 + 1, now() - n * interval '1 minute', gen_random_uuid() "
        "FROM generate_series(1, 100000) AS n"
    )
    yield worker
    await transaction.rollback()
    # Or the next test would count the dead entries that this one left in the indexes.
    await worker.execute("VACUUM control_plane.schedules, control_plane.schedule_ticks")


@in_each_mode
async def test_a_look_for_due_schedules_reads_those_alone(thousand_schedules: SQL, mode: Mode) -> None:
    """What every worker asks each second."""
    args: dict[str, SQLValue] = {"ahead": 1.0, "limit": 100}

    plan = await explain_statement(thousand_schedules, load("schedule/due"), args, mode, run=True)

    assert plan.indexes == {"idx_schedules_look_at"}, plan.text
    assert "Sort" not in plan.nodes
    assert plan.buffers < 40


@in_each_mode
async def test_a_tick_finds_its_schedule_by_the_key(thousand_schedules: SQL, mode: Mode) -> None:
    row = await thousand_schedules.fetchrow("SELECT * FROM control_plane.schedules WHERE name = 's1'")
    assert row is not None
    args: dict[str, SQLValue] = {
        "names": ["s1"],
        "revisions": [1],
        "last_ticks": [row["last_tick"]],
        "job_ids": [str(uuid4())],
        "ticks": [row["look_at"]],
        "decided": ["s1"],
        "decided_revisions": [1],
        "decided_from": [row["last_tick"]],
        "decided_to": [row["look_at"]],
        "look_ats": [row["look_at"]],
    }

    plan = await explain_statement(thousand_schedules, load("schedule/tick"), args, mode, run=True)

    assert plan.indexes == {"schedules_pkey"}, plan.text
    assert plan.scans("schedules") == {"ModifyTable", "Index Scan"}
    assert plan.buffers < 500, "a tick, a job in all its indexes, and the schedule moved on"


@in_each_mode
async def test_pruning_ticks_reads_old_ones_alone(thousand_schedules: SQL, mode: Mode) -> None:
    args: dict[str, SQLValue] = {"keep": 69 * 86400.0, "limit": 1000}

    plan = await explain_statement(thousand_schedules, load("schedule/prune"), args, mode, run=True)

    assert plan.indexes >= {"schedule_ticks_pkey"}, plan.text
    assert "Seq Scan" not in plan.scans("schedule_ticks")
    assert plan.buffers < 20_000


@in_each_mode
async def test_a_sweep_looks_at_running_jobs_only(worker: SQL, mode: Mode) -> None:
    plan = await explain_statement(
        worker, load("job/rescue"), {"limit": 500, "crash_limit": 3}, mode, run=True
    )

    assert plan.indexes - {"jobs_pkey", "job_attempts_pkey"} == {"idx_jobs_status"}, plan.text
    assert plan.scans("jobs") == {"ModifyTable", "Index Scan"}
    assert plan.filtered <= 100, "there are a hundred of them"
    assert plan.buffers < 2000


@in_each_mode
@pytest.mark.parametrize("jobs_url", ["analysed"], indirect=True)
async def test_pruning_finds_old_jobs_by_their_due_time(worker: SQL, mode: Mode) -> None:
    """After the first ANALYZE; before it, the table may be read whole once per sweep."""
    day = 86400.0
    args: Mapping[str, SQLValue] = {
        "keep_completed": 29.9 * day,
        "keep_failed": 30 * day,
        "keep_cancelled": 30 * day,
        "limit": 1000,
    }

    await worker.execute("SET enable_bitmapscan = on")  # as Store.prune does
    plan = await explain_statement(worker, load("job/prune"), args, mode, run=True)

    assert "idx_jobs_scheduled_at" in plan.indexes, plan.text
    assert "Seq Scan" not in plan.scans("jobs")
    assert plan.buffers < 20_000


@in_each_mode
@pytest.mark.parametrize("jobs_url", ["stale"], indirect=True)
async def test_pruning_the_history_walks_it_from_the_oldest_on(worker: SQL, mode: Mode) -> None:
    """Once a minute, beside any number of transitions that are younger."""
    transaction = worker.transaction()
    await transaction.start()
    await worker.execute(
        """
        INSERT INTO control_plane.job_events
            (job_id, rev, verb, epoch, attempts, max_attempts, type, queue, priority, scheduled_at, actor, at)
        SELECT gen_random_uuid(), 1, 'enqueue', 0, 0, 3, 'work', 'default', 0, now(), 'jobplane',
            now() - n * interval '1 minute'
        FROM generate_series(1, 20000) AS n
        """
    )

    plan = await explain_statement(
        worker, load("history/prune"), {"keep": 60.0 * 19_950, "limit": 1000}, mode, run=True
    )
    await transaction.rollback()

    assert plan.indexes == {"idx_job_events_at", "job_events_pkey"}, plan.text
    assert plan.filtered == 0
    assert plan.buffers < 1000
