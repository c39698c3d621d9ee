"""`jobplane jobs`: list, show, retry, cancel."""

from __future__ import annotations

from uuid import uuid4

import pytest

from jobplane import JobQueue, JobStatus
from jobplane.cli.failures import ExitCode
from jobplane.cli.output import UNLIMITED
from tests.cli.commands import CommandLine
from tests.factories import SQL, make_job

HOSTILE = "[bold]x[/bold] \x1b]0;title\x07 \u202e \r\n second line"


async def test_lists_are_pages_that_together_hold_every_job_once(cli: CommandLine, sql: SQL) -> None:
    made = [await make_job(sql) for _ in range(7)]

    pages = [(await cli.run("jobs", "list", "--limit", "3", "--json")).document()]
    while cursor := pages[-1]["next_cursor"]:
        pages.append(
            (await cli.run("jobs", "list", "--limit", "3", "--cursor", str(cursor), "--json")).document()
        )

    ids = [job["id"] for page in pages for job in _jobs(page)]
    assert len(pages) == 3
    assert ids == [str(job_id) for job_id in reversed(made)]


async def test_filters_narrow_the_list(cli: CommandLine, sql: SQL) -> None:
    await make_job(sql)
    failed = await make_job(sql, JobStatus.FAILED)
    slow = await make_job(sql, queue="slow")
    other = await make_job(sql, type="other")
    tagged = await make_job(sql, tags=["eu"])

    for options, expected in (
        (["--status", "failed"], failed),
        (["--queue", "slow"], slow),
        (["--type", "other"], other),
        (["--tag", "eu"], tagged),
    ):
        found = (await cli.run("jobs", "list", *options, "--json")).document()
        assert [job["id"] for job in _jobs(found)] == [str(expected)], options


async def test_a_piped_table_is_whole_and_plain(cli: CommandLine, sql: SQL) -> None:
    error = "ValueError: " + "long " * 500
    job_id = await make_job(sql, JobStatus.FAILED, last_error=error, type="t" * 100)

    listed = await cli.process("jobs", "list", FORCE_COLOR="", COLUMNS="40")

    (line,) = [line for line in listed.out.splitlines() if str(job_id) in line]
    assert error.strip() in line
    assert "t" * 100 in line
    assert "\x1b" not in listed.out
    assert len(line) < UNLIMITED


async def test_what_a_handler_said_cannot_steer_the_terminal(cli: CommandLine, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.FAILED, last_error=HOSTILE, worker_id=HOSTILE, tags=[HOSTILE])
    await sql.execute(
        "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome, error_type, message, worker_id, frames) "
        "VALUES ($1, 1, 1, 'failed', $2, $2, $2, jsonb_build_array($2::text))",
        job_id,
        HOSTILE,
    )

    for args in (["list"], ["show", str(job_id), "--payload"], ["wait", str(job_id)], ["list", "--json"]):
        ended = await cli.run("jobs", *args)

        shown = ended.out + ended.err
        assert all(char.isprintable() or char == "\n" for char in shown), args
        assert "[bold]x[/bold]" in shown, args
        assert "\\x1b]0;title" in shown or "\\u001b]0;title" in shown, args


async def test_show_tells_all_but_what_may_be_private(cli: CommandLine, sql: SQL) -> None:
    job_id = await make_job(
        sql,
        JobStatus.COMPLETED,
        payload={"password": "hunter2"},
        result={"token": "s3cr3t"},
        progress={"fraction": 0.25},
    )

    text = await cli.run("jobs", "show", str(job_id))
    document = await cli.run("jobs", "show", str(job_id), "--json")
    asked = (await cli.run("jobs", "show", str(job_id), "--payload", "--json")).document()
    asked_as_text = await cli.run("jobs", "show", str(job_id), "--payload")

    for shown in (text.out, document.out):
        assert str(job_id) in shown
        assert "hunter2" not in shown
        assert "s3cr3t" not in shown
    assert "completed" in text.out
    assert "25%" in text.out
    assert asked["payload"] == {"password": "hunter2"}
    assert asked["result"] == {"token": "s3cr3t"}
    assert asked.keys() - document.document().keys() == {"payload", "result"}
    assert '"hunter2"' in asked_as_text.out


async def test_show_tells_that_a_result_was_not_stored(cli: CommandLine, sql: SQL) -> None:
    error = "result not stored: result must be at most 1048576 bytes as JSON; got '2097154 bytes'"
    job_id = await make_job(sql, JobStatus.COMPLETED, last_error=error)

    for ended in (
        await cli.run("jobs", "show", str(job_id)),
        await cli.run("jobs", "show", str(job_id), "--json"),
        await cli.run("jobs", "wait", str(job_id)),
    ):
        assert ended.code == ExitCode.DONE, "it completed"
        assert "result not stored: result must be at most" in ended.out


async def test_show_tells_each_attempt_that_failed_and_where(cli: CommandLine, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.FAILED, attempts=2)
    for attempt in (1, 2):
        await sql.execute(
            "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome, error_type, message, frames) "
            "VALUES ($1, $2::integer, $2::integer, 'failed', 'KeyError', 'gone', '[\"shop.py:7 greet\"]')",
            job_id,
            attempt,
        )

    text = await cli.run("jobs", "show", str(job_id))
    history = (await cli.run("jobs", "show", str(job_id), "--json")).document()["attempt_history"]

    assert text.out.count("KeyError: gone") == 2
    assert text.out.count("shop.py:7 greet") == 2
    assert isinstance(history, list)
    assert [(item["attempt"], item["error_type"], item["frames"]) for item in history] == [
        (1, "KeyError", ["shop.py:7 greet"]),
        (2, "KeyError", ["shop.py:7 greet"]),
    ]


async def test_retry_runs_an_ended_job_again(cli: CommandLine, sql: SQL, queue: JobQueue) -> None:
    job_id = await make_job(sql, JobStatus.FAILED)

    ended = await cli.process("jobs", "retry", str(job_id))

    job = await queue.get_job(job_id)
    assert ended.code == 0
    assert job is not None
    assert job.status is JobStatus.PENDING


async def test_a_retry_without_attempts_left_says_which_option_grants_more(
    cli: CommandLine, sql: SQL, queue: JobQueue
) -> None:
    job_id = await make_job(sql, JobStatus.FAILED, attempts=3)

    refused = await cli.run("jobs", "retry", str(job_id))
    granted = await cli.run("jobs", "retry", str(job_id), "--extra-attempts", "2")

    job = await queue.get_job(job_id)
    assert refused.code == ExitCode.REFUSED
    assert "--extra-attempts" in refused.err
    assert granted.code == 0
    assert job is not None
    assert job.max_attempts == 5


async def test_cancel_ends_a_pending_job_and_asks_a_running_one(
    cli: CommandLine, sql: SQL, queue: JobQueue
) -> None:
    pending = await make_job(sql)
    running = await make_job(sql, JobStatus.RUNNING)

    ended = await cli.process("jobs", "cancel", str(pending), str(running))

    jobs = [await queue.get_job(pending), await queue.get_job(running)]
    assert ended.code == 0
    assert f"{pending} is cancelled" in ended.out
    assert f"{running} is running" in ended.out
    assert [job.status for job in jobs if job] == [JobStatus.CANCELLED, JobStatus.RUNNING]
    assert jobs[1] is not None
    assert jobs[1].cancel_requested_at is not None


@pytest.mark.parametrize("verb", ["retry", "cancel"])
async def test_one_id_that_is_refused_does_not_spare_the_others(
    cli: CommandLine, sql: SQL, queue: JobQueue, verb: str
) -> None:
    good = await make_job(sql, JobStatus.FAILED if verb == "retry" else JobStatus.PENDING)
    done = await make_job(sql, JobStatus.RUNNING if verb == "retry" else JobStatus.COMPLETED)
    missing = uuid4()

    ended = await cli.run("jobs", verb, str(missing), str(done), str(good))

    job = await queue.get_job(good)
    assert ended.code == ExitCode.REFUSED
    assert ended.err.count("error: ") == 2
    assert job is not None
    assert job.status is (JobStatus.PENDING if verb == "retry" else JobStatus.CANCELLED)


@pytest.mark.parametrize("verb", ["show", "retry", "cancel", "wait"])
async def test_a_job_that_is_not_there_has_an_exit_code_of_its_own(cli: CommandLine, verb: str) -> None:
    ended = await cli.run("jobs", verb, str(uuid4()))

    assert ended.code == ExitCode.NOT_FOUND
    assert "there is no job" in ended.err


@pytest.mark.parametrize(
    "args",
    [
        ["show", "not-an-id"],
        ["list", "--status", "done"],
        ["list", "--limit", "0"],
        ["list", "--limit", "101"],
        ["list", "--cursor", "x"],
        ["list", "--type", "a b"],
        ["retry"],
        ["retry", "01890000-0000-7000-8000-000000000001", "--extra-attempts", "-1"],
    ],
    ids=" ".join,
)
async def test_what_is_not_understood_is_a_usage_error(cli: CommandLine, args: list[str]) -> None:
    ended = await cli.run("jobs", *args)

    assert ended.code == ExitCode.USAGE
    assert ended.err


async def test_an_empty_table_says_so(cli: CommandLine) -> None:
    assert (await cli.run("jobs", "list")).out == "no jobs\n"
    assert (await cli.run("workers", "list")).out.startswith("no workers")
    assert (await cli.run("queues", "list")).out.startswith("no queue")


def _jobs(page: dict[str, object]) -> list[dict[str, object]]:
    jobs = page["jobs"]
    assert isinstance(jobs, list)
    return jobs
