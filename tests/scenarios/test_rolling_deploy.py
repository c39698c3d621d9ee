"""Two releases side by side, and transactions that are still open: what a worker may not touch (I3, I18, F22)."""

from __future__ import annotations

import signal
from collections.abc import Callable

from jobplane import JobQueue, JobStatus
from tests.factories import SQL, row_of
from tests.support import Journal, WorkerProcess, until

Spawn = Callable[..., WorkerProcess]


async def test_a_new_type_waits_untouched_until_a_worker_that_knows_it_is_deployed(
    queue: JobQueue, sql: SQL, spawn_worker: Spawn, journal: Journal
) -> None:
    old = spawn_worker("tests.handlers:old_release")
    new_kind = await queue.enqueue("work_in_thread", {}, max_attempts=1)
    for _ in range(5):
        made = await queue.enqueue("work", {})
        assert (await queue.wait(made.id, 20)).status is JobStatus.COMPLETED
    (shown,) = await until(queue.list_unclaimable)
    assert (shown.type, shown.jobs) == ("work_in_thread", 1)
    row = await row_of(sql, new_kind.id)
    assert (row["status"], row["attempts"], row["last_error"]) == ("pending", 0, None)

    new = spawn_worker("tests.handlers:new_release")
    job = await queue.wait(new_kind.id, 20)
    old.signal(signal.SIGTERM)

    assert (job.status, job.attempts) == (JobStatus.COMPLETED, 1)
    assert await old.exit_code() == 0
    made = await queue.enqueue("work", {})
    assert (await queue.wait(made.id, 20)).status is JobStatus.COMPLETED
    assert await queue.list_unclaimable() == []
    assert journal.entries("start")[-1]["pid"] == new.pid


async def test_a_job_of_an_open_transaction_does_not_start_before_its_commit_nor_after_its_rollback(
    queue: JobQueue, sql: SQL, spawn_worker: Spawn, journal: Journal
) -> None:
    await sql.execute("CREATE TABLE orders (id integer PRIMARY KEY)")
    spawn_worker()

    open_transaction = sql.transaction()
    await open_transaction.start()
    await sql.execute("INSERT INTO orders VALUES (1)")
    inside = await queue.enqueue("work", {"marker": "inside"}, connection=sql, notify=True)
    for _ in range(10):
        outside = await queue.enqueue("work", {"marker": "outside"})
        await queue.wait(outside.id, 20)
    assert await queue.get_job(inside.id) is None
    assert _markers(journal) == {"outside"}

    await open_transaction.commit()
    assert (await queue.wait(inside.id, 20)).result == "inside"

    open_transaction = sql.transaction()
    await open_transaction.start()
    undone = await queue.enqueue("work", {"marker": "undone"}, connection=sql, notify=True)
    await open_transaction.rollback()
    for _ in range(10):
        outside = await queue.enqueue("work", {"marker": "outside"})
        await queue.wait(outside.id, 20)

    assert await queue.get_job(undone.id) is None
    assert _markers(journal) == {"outside", "inside"}


def _markers(journal: Journal) -> set[object]:
    return {entry["marker"] for entry in journal.entries("start")}
