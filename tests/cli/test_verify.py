"""`jobplane verify`: what a live database holds against the promises, read only (I1, I5-I8, I10-I13, I15, I20)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from jobplane import JobQueue, JobStatus, Worker
from jobplane.cli.failures import ExitCode
from tests.cli.commands import CommandLine, Ended
from tests.factories import SQL, make_job, row_of
from tests.support import WorkerProcess, until


async def test_a_queue_at_work_is_clean(
    cli: CommandLine, queue: JobQueue, make_worker: Callable[..., Worker]
) -> None:
    @queue.task
    async def work(number: int) -> None:
        if number % 5 == 0:
            raise ValueError("no")

    await cli.run("history", "on")
    async with make_worker(queue):
        jobs = [await work.enqueue(number=number) for number in range(20)]
        for job in jobs[1:5]:
            await queue.wait(job.id, 10)
        during = await cli.run("verify")
    after = (await cli.run("verify", "--json")).document()

    assert (during.code, during.err) == (0, "")
    assert "nothing is wrong" in during.out
    assert (after["ok"], after["count"], after["violations"], after["jobs"]) == (True, 0, [], 20)
    assert after["history"]["whole"] is True  # type: ignore[index] # a document
    assert "I20" in str(after["checked"])


async def test_killed_workers_leave_nothing_wrong_behind(
    cli: CommandLine, queue: JobQueue, spawn_worker: Callable[..., WorkerProcess], sql: SQL
) -> None:
    """F1: the transitions of a rescue hold what they promise."""
    await cli.run("history", "on")
    job = await queue.enqueue("work", {"seconds": 60})
    first = spawn_worker()
    await until(lambda: sql.fetchval("SELECT true FROM control_plane.jobs WHERE status = 'running'"))
    first.end()
    second = spawn_worker()
    await until(lambda: sql.fetchval("SELECT true FROM control_plane.jobs WHERE lease_epoch = 2"))
    await queue.cancel(job.id)
    await queue.wait(job.id, 20)
    second.end()

    ended = await cli.run("verify", "--json", JOBPLANE_LEASE="2", JOBPLANE_HEARTBEAT_INTERVAL="0.4")

    document = ended.document()
    assert (ended.code, document["violations"]) == (0, [])
    figures = document["figures"]
    assert isinstance(figures, dict)
    assert (figures["rescues"], figures["claims"]) == (1, 2)
    assert 1.5 < figures["recovery_max"] < 20


@pytest.mark.parametrize(
    ("status", "columns", "kind"),
    [
        (JobStatus.RUNNING, {"attempts": 4, "lease_epoch": 4}, "TooManyAttempts"),
        (JobStatus.RUNNING, {"lease_expires_at": None}, "ImpossibleRow"),
        (JobStatus.COMPLETED, {"completed_at": None}, "ImpossibleRow"),
        (JobStatus.RUNNING, {"lease_epoch": 0}, "BrokenFence"),
        (JobStatus.RUNNING, {"lease_expires_at": timedelta(minutes=-5)}, "LateRecovery"),
    ],
    ids=["attempts", "no lease", "no end", "no epoch", "forgotten"],
)
async def test_a_row_that_cannot_be_is_found_without_a_history(
    cli: CommandLine, sql: SQL, status: JobStatus, columns: dict[str, object], kind: str
) -> None:
    job_id = await make_job(sql, status, **columns)

    text = await cli.run("verify")
    found = _violation(await cli.run("verify", "--json"))

    assert (found["kind"], found["job_id"]) == (kind, str(job_id))
    assert text.code == ExitCode.REFUSED
    assert f"job {job_id}" in text.out
    assert kind in text.out
    assert "what to do next" in text.out
    assert "jobplane history on" in text.out
    assert (await row_of(sql, job_id))["status"] == status


async def test_two_unfinished_jobs_of_one_key_are_found(cli: CommandLine, sql: SQL) -> None:
    await sql.execute("DROP INDEX control_plane.idx_jobs_unique_key")
    await make_job(sql, unique_key="k")
    await make_job(sql, unique_key="k")

    assert _violation(await cli.run("verify", "--json"))["kind"] == "SharedKey"


async def test_rows_that_other_software_left_are_not_held_against_it(cli: CommandLine, sql: SQL) -> None:
    await make_job(sql, JobStatus.RUNNING, lease_expires_at=None, created_at=timedelta(days=-400))

    assert (await cli.run("verify")).code == 0


async def test_what_was_done_by_hand_is_found_in_the_history(
    cli: CommandLine, queue: JobQueue, sql: SQL
) -> None:
    await cli.run("history", "on")
    job = await queue.enqueue("work", {})
    await queue.cancel(job.id)
    await sql.execute("UPDATE control_plane.jobs SET status = 'pending', completed_at = NULL")

    found = _violation(await cli.run("verify", "--json"))

    assert (found["promise"], found["kind"]) == ("I10", "TerminalLeft")
    assert "by other" in str(found["says"])


async def test_what_was_done_past_the_history_is_found(cli: CommandLine, queue: JobQueue, sql: SQL) -> None:
    """A restore of one table, or a writer with triggers off."""
    await cli.run("history", "on")
    await queue.enqueue("work", {})
    await sql.execute("SET session_replication_role = replica; DELETE FROM control_plane.jobs")

    document = (await cli.run("verify", "--json")).document()

    assert document["ok"] is False
    kinds = {item["kind"] for item in _list(document["violations"])}
    assert kinds == {"LostJob", "Unbalanced"}


async def test_jobs_from_before_the_history_are_no_violation_and_it_says_so(
    cli: CommandLine, queue: JobQueue, sql: SQL
) -> None:
    job = await queue.enqueue("work", {})
    await cli.run("history", "on")
    await queue.cancel(job.id)

    ended = await cli.run("verify")

    assert ended.code == 0
    assert "does not reach back to the first job" in ended.out


async def test_no_more_violations_are_shown_than_wanted(cli: CommandLine, sql: SQL) -> None:
    for _ in range(5):
        await make_job(sql, attempts=9, lease_epoch=9)

    text = await cli.run("verify", "--limit", "2")
    document = (await cli.run("verify", "--limit", "2", "--json")).document()

    assert "and 3 more" in text.out
    assert (document["count"], len(_list(document["violations"]))) == (5, 2)


async def test_it_reads_only_and_a_role_that_may_only_read_will_do(
    cli: CommandLine, queue: JobQueue, sql: SQL, database_url: str
) -> None:
    await cli.run("history", "on")
    await queue.enqueue("work", {})
    name = await sql.fetchval("SELECT current_database()")
    role = f"auditor_{name[-12:]}"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'auditor'")
    try:
        await sql.execute(f"GRANT USAGE ON SCHEMA control_plane TO {role}")
        await sql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA control_plane TO {role}")
        url = f"postgresql://{role}:auditor@{database_url.rpartition('@')[2]}"

        ended = await cli.run("verify", DATABASE_URL=url)

        assert (ended.code, ended.err) == (0, "")
        assert "nothing is wrong" in ended.out
    finally:
        await sql.execute(f"DROP OWNED BY {role}")
        await sql.execute(f"DROP ROLE {role}")


async def test_a_database_that_can_only_be_read_can_be_verified(cli: CommandLine, sql: SQL) -> None:
    """As a standby: F16."""
    await make_job(sql)
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')

    assert (await cli.run("verify")).code == 0


async def test_a_database_that_cannot_be_verified_says_why(cli: CommandLine, bare_cli: CommandLine) -> None:
    missing = await bare_cli.run("verify")
    unreachable = await cli.run(
        "verify", "--database-url", "postgresql://x@127.0.0.1:1/x", JOBPLANE_PATIENCE="0"
    )
    malformed = await cli.run("verify", "--lease", "soon")

    assert (missing.code, unreachable.code, malformed.code) == (
        ExitCode.REFUSED,
        ExitCode.UNAVAILABLE,
        ExitCode.USAGE,
    )
    assert "migrate up" in missing.err
    assert "lease" in malformed.err


def _violation(ended: Ended) -> dict[str, object]:
    """The one that there must be."""
    document = ended.document()
    (found,) = _list(document["violations"])
    assert ended.code == ExitCode.REFUSED
    assert document["ok"] is False
    return found


def _list(value: object) -> list[dict[str, object]]:
    assert isinstance(value, list)
    return value
