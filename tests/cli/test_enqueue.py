"""`jobplane enqueue`, and waiting for what became of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from jobplane import Job, JobQueue, JobStatus
from jobplane.cli.failures import ExitCode
from tests.cli.commands import Background, CommandLine
from tests.factories import SQL, make_job


async def test_stdout_gets_the_id_of_a_job_as_it_was_described(cli: CommandLine, queue: JobQueue) -> None:
    ended = await cli.process(
        "enqueue", "greet", '{"name": "Ada"}', "--delay", "15m", "--priority", "7", "--queue", "slow",
        "--max-attempts", "5", "--unique-key", "once", "--tag", "eu", "--tag", "new",
    )  # fmt: skip

    job = await _job(queue, ended.out)
    assert ended.code == 0
    assert (job.type, job.queue, job.priority, job.max_attempts) == ("greet", "slow", 7, 5)
    assert (job.unique_key, job.tags) == ("once", ("eu", "new"))
    assert job.payload == {"name": "Ada", "priority": 7}
    assert job.scheduled_at - job.created_at == timedelta(minutes=15)
    assert "enqueued" in ended.err


@pytest.mark.parametrize("target", ["shop", "shop:queue", "shop:make", "shop:charge"])
async def test_with_its_module_a_job_has_the_options_of_its_task(
    cli: CommandLine, queue: JobQueue, tasks: Path, target: str
) -> None:
    """However the job is made: what is not given comes from the task."""
    plain = await cli.process("enqueue", "charge", '{"amount": 1}')
    known = await cli.process("enqueue", "charge", '{"amount": 1}', "--tasks", target)
    given = await cli.process(
        "enqueue", "charge", "--tasks", target, "--queue", "slow", "--max-attempts", "5"
    )

    found = [await _job(queue, ended.out) for ended in (plain, known, given)]
    assert [(job.queue, job.max_attempts, job.priority) for job in found] == [
        ("default", 3, 0),
        ("tills", 1, 4),
        ("slow", 5, 4),
    ]


async def test_a_module_that_is_not_there_is_one_line_and_writes_nothing(
    cli: CommandLine, queue: JobQueue
) -> None:
    ended = await cli.process("enqueue", "charge", "--tasks", "nowhere:queue")

    assert ended.code == ExitCode.USAGE
    assert "there is no module 'nowhere'" in ended.err
    assert (await queue.count_jobs())[JobStatus.PENDING] == 0


async def test_a_job_runs_and_waiting_for_it_ends_with_its_outcome(
    cli: CommandLine, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    start_worker("shop")

    good = await cli.process("enqueue", "greet", '{"name": "Ada"}', "--wait", "--json")
    bad = await cli.process("enqueue", "fail", "--max-attempts", "1", "--wait")
    again = await cli.process("jobs", "wait", str(good.document()["id"]))

    assert good.code == again.code == 0
    assert good.document()["status"] == "completed"
    assert good.document()["progress"] == {"fraction": 0.5, "message": "half way"}
    assert "completed" in again.out
    assert bad.code == ExitCode.REFUSED
    assert "failed" in bad.out
    assert "ValueError: no:" in bad.out


async def test_waiting_in_vain_ends_with_its_own_code_and_leaves_the_job(
    cli: CommandLine, queue: JobQueue
) -> None:
    ended = await cli.run("enqueue", "greet", "--wait", "--timeout", "0.2")

    assert ended.code == ExitCode.TIMED_OUT
    assert "still pending after 0.2 s; it goes on" in ended.err
    assert (await queue.count_jobs())[JobStatus.PENDING] == 1


async def test_a_waiter_is_told_why_nothing_happens(
    cli: CommandLine, queue: JobQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobplane.cli.waiting.WONDER_AFTER", 0.0)

    nobody = await cli.run("enqueue", "greet", "--wait", "--timeout", "0.5")

    assert "no living worker serves queue default and knows type greet" in nobody.err


async def test_waiting_for_a_cancelled_job_is_a_failure(cli: CommandLine, sql: SQL) -> None:
    job_id = await make_job(sql, JobStatus.CANCELLED)

    ended = await cli.run("jobs", "wait", str(job_id), "--json")

    assert ended.code == ExitCode.REFUSED
    assert ended.document()["status"] == "cancelled"


async def test_waiting_for_a_job_that_is_not_there_is_not_found(cli: CommandLine) -> None:
    ended = await cli.run("jobs", "wait", str(uuid4()))

    assert ended.code == ExitCode.NOT_FOUND


async def test_the_payload_comes_from_a_file_or_from_stdin(cli: CommandLine, queue: JobQueue) -> None:
    (cli.folder / "payload.json").write_text('{"from": "a file, ü"}', encoding="utf-8")

    filed = await cli.process("enqueue", "greet", "@payload.json")
    piped = await cli.run("enqueue", "greet", "-", stdin='{"from": "stdin"}')

    assert (await _job(queue, filed.out)).payload == {"from": "a file, ü"}
    assert (await _job(queue, piped.out)).payload == {"from": "stdin"}


async def test_a_key_given_twice_answers_with_the_same_job(cli: CommandLine, queue: JobQueue) -> None:
    first = await cli.run("enqueue", "greet", "--idempotency-key", "order 7")
    second = await cli.run("enqueue", "greet", "--idempotency-key", "order 7", "--json")

    assert second.document()["id"] == first.out.strip()
    assert second.document()["existing"] is True
    assert (await queue.count_jobs())[JobStatus.PENDING] == 1


async def test_a_due_time_with_an_offset_is_kept(cli: CommandLine) -> None:
    ended = await cli.run("enqueue", "greet", "--at", "2020-02-29T12:00:00+02:00", "--json")

    assert ended.document()["scheduled_at"] == "2020-02-29T10:00:00+00:00"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["a\x1b[31mb\r\nerror: forged"], "type must be"),
        (["ünïcode"], "type must be"),
        (["x" * 101], "type must be"),
        (["x" * 100_000], "type must be"),
        (["--", "--help"], "enqueued"),
        (["greet", "[1]"], "must be a JSON object"),
        (["greet", "{"], "must be a JSON object"),
        (["greet", '{"a": NaN}'], "finite"),
        (["greet", '{"a": "\\u0000"}'], "NUL"),
        (["greet", '{"a": "\\ud800"}'], "Unicode"),
        (["greet", '{"a":' * 5000 + "1" + "}" * 5000], "at most 64 levels"),
        (["greet", '{"a": ' + "9" * 5000 + "}"], "PAYLOAD"),
        (["greet", "@missing.json"], "No such file"),
        (["greet", "@."], "cannot be read"),
        (["greet", "--delay", "-1"], "--delay must be"),
        (["greet", "--delay", "25h"], "24 hours"),
        (["greet", "--delay", "tomorrow"], "--delay must be"),
        (["greet", "--at", "2026-01-01"], "offset"),
        (["greet", "--at", "soon"], "ISO time"),
        (["greet", "--priority", "1001"], "priority"),
        (["greet", "--queue", "a b"], "queue"),
        (["greet", "--max-attempts", "0"], "max_attempts"),
        (["greet", "--tag", ""], "tag"),
        (["greet", "--unique-key", ""], "unique_key"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, list) else "",
)
async def test_a_value_outside_its_limit_is_one_line_and_writes_nothing(
    cli: CommandLine, queue: JobQueue, args: list[str], says: str
) -> None:
    ended = await cli.run("enqueue", *args)

    if says == "enqueued":  # two dashes and letters make an unusual type, but a valid one
        assert ended.code == 0
        return
    assert ended.code == ExitCode.USAGE
    assert says in ended.err
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err
    assert len(ended.err) < 1000
    assert sum((await queue.count_jobs()).values()) == 0


async def _job(queue: JobQueue, out: str) -> Job:
    job = await queue.get_job(UUID(out.strip()))
    assert job is not None
    return job
