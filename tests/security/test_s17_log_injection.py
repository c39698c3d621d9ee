"""S17: one event, one line. Text that someone else chose cannot begin a line, steer a terminal or fill a disk.

A real worker process with a real log, in both formats, while hostile text comes from every side: rows of foreign
producers, error types, messages, file and function names of handlers, words on the notification channel, messages that a
trigger raises, what handlers log. Then the commands that print such rows. The user agent and the paths of the HTTP API
will be added here when it exists.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

import pytest

from jobplane import JobQueue, JobStatus
from jobplane.observability.formatters import MOST_BYTES
from tests.cli.commands import Background, CommandLine
from tests.factories import SQL, attempts_of, make_job
from tests.support import until

FORGED: Final = "2026-01-01T00:00:00.000Z ERROR   forged"
HOSTILE: Final = f'x\r\n{FORGED}\n{{"level": "forged"}}\u2028{FORGED}\u2029\x85\x1b[2J\x1b]0;t\x07\x9b31m\u202e\u2066\x7f\b end'
TEXT_LINE: Final = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (DEBUG|INFO|WARNING|ERROR|CRITICAL) +\S.*|  \| .*"
)
TASKS: Final = """
import logging

from jobplane import Fail, JobContext, JobQueue

HOSTILE = {hostile!r}
queue = JobQueue()


@queue.task(max_attempts=1)
async def fail(ctx: JobContext) -> None:
    scope = {{"Hostile": type(HOSTILE, (Exception,), {{}}), "HOSTILE": HOSTILE}}
    exec(compile("def f():\\n    raise Hostile(HOSTILE * 1000)", HOSTILE, "exec"), scope)
    scope["f"].__code__ = scope["f"].__code__.replace(co_name=HOSTILE, co_qualname=HOSTILE)
    scope["f"]()


@queue.task(max_attempts=1)
async def say(ctx: JobContext) -> object:
    ctx.logger.warning(HOSTILE)
    ctx.logger.warning("%s", HOSTILE * 10_000)
    logging.getLogger(HOSTILE).error("from a library: %s", HOSTILE)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        ctx.logger.exception(HOSTILE)
    ctx.progress(0.5, "".join(char for char in HOSTILE if char != "\\0")[:200])
    return Fail(HOSTILE)
"""


@pytest.fixture
async def hostile_job(sql: SQL) -> UUID:
    """A row in which every text is hostile, as any SQL client can write it."""
    await sql.execute(
        "INSERT INTO control_plane.workers (id, host, pid, version, queues, types) VALUES ($1, $1, 1, $1, $2, ARRAY[$1])",
        HOSTILE,
        json.dumps({HOSTILE: 3}),
    )
    await sql.execute("INSERT INTO control_plane.queues (name, paused_at) VALUES ($1, now())", HOSTILE)
    job_id = await make_job(
        sql, JobStatus.FAILED, type=HOSTILE, queue=HOSTILE, unique_key=HOSTILE, tags=[HOSTILE], worker_id=HOSTILE,
        last_error=HOSTILE, payload={HOSTILE: HOSTILE}, result={HOSTILE: HOSTILE}, progress={"fraction": 0.5, "message": HOSTILE},
    )  # fmt: skip
    await sql.execute(
        "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome, error_type, message, frames, worker_id) "
        "VALUES ($1, 1, 1, 'failed', $2, $2, $3, $2)",
        job_id,
        HOSTILE,
        json.dumps([HOSTILE]),
    )
    await make_job(sql, type=HOSTILE, queue=HOSTILE)
    return job_id


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_each_line_of_a_workers_log_is_its_own(
    cli: CommandLine,
    start_worker: Callable[..., Background],
    queue: JobQueue,
    sql: SQL,
    hostile_job: UUID,
    log_format: str,
) -> None:
    (cli.folder / "loud.py").write_text(TASKS.format(hostile=HOSTILE), encoding="utf-8")
    # A trigger of the user's own, whose words end in the warning of the service that met it.
    await sql.execute(
        f"CREATE FUNCTION public.hostile() RETURNS trigger LANGUAGE plpgsql AS $trap$ BEGIN RAISE '%', {await _literal(sql)}; END $trap$"
    )
    await sql.execute(
        "CREATE TRIGGER hostile BEFORE UPDATE ON control_plane.duties FOR EACH ROW EXECUTE FUNCTION public.hostile()"
    )
    worker = start_worker("loud", "--log-format", log_format, "--log-level", "debug", PYTHONPATH=str(cli.folder),
                          JOBPLANE_SWEEP_INTERVAL="0.2")  # fmt: skip

    jobs = [await queue.enqueue(name, max_attempts=1) for name in ("fail", "say")]
    for word in (HOSTILE, f"cancel:{HOSTILE}", "cancel:", "x" * 7999, ""):
        await sql.execute("SELECT pg_notify('jobplane_control_plane', $1)", word)
    ended = [await queue.wait(job.id, 20) for job in jobs]

    async def has_warned() -> bool:
        return "StatementError" in worker.log.read_text(encoding="utf-8")

    await until(has_warned)
    await worker.stop()
    written = worker.log.read_bytes().decode()

    assert {job.status for job in ended} == {JobStatus.FAILED}
    assert "forged" in written, "it was logged at all"
    lines = written.split("\n")
    assert lines.pop() == ""
    assert len(lines) > 10
    for line in lines:
        assert line.isprintable(), ascii(line)
        assert len(line.encode()) <= MOST_BYTES
        if log_format == "json":
            entry = json.loads(line)
            assert entry["level"] in ("debug", "info", "warning", "error")
        else:
            assert TEXT_LINE.fullmatch(line), ascii(line[:200])
            assert not line.startswith(FORGED)


async def test_what_is_stored_of_an_error_is_capped(
    cli: CommandLine, start_worker: Callable[..., Background], queue: JobQueue, sql: SQL
) -> None:
    (cli.folder / "loud.py").write_text(TASKS.format(hostile=HOSTILE), encoding="utf-8")
    start_worker("loud", PYTHONPATH=str(cli.folder))

    made = await queue.enqueue("fail", max_attempts=1)
    await queue.wait(made.id, 20)

    (attempt,) = await attempts_of(sql, made.id)
    assert len(attempt["error_type"].encode()) <= 200
    assert len(attempt["message"].encode()) <= 4096
    assert all(frame.isprintable() for frame in json.loads(attempt["frames"]))
    assert len(attempt["frames"]) <= 8192


@pytest.mark.parametrize(
    "command",
    [
        "jobs list",
        "jobs show {id}",
        "jobs show {id} --payload",
        "queues list",
        "workers list",
        "doctor",
        "migrate status",
    ],
)
@pytest.mark.parametrize("form", ["people", "programs"])
async def test_no_command_prints_what_a_terminal_obeys(
    cli: CommandLine, hostile_job: UUID, command: str, form: str
) -> None:
    arguments = command.format(id=hostile_job).split()

    ended = await cli.run(*arguments, *(["--json"] if form == "programs" else []))

    assert ended.code in (0, 1)
    for text in (ended.out, ended.err):
        assert all(line.isprintable() for line in text.split("\n")), ascii(text)
        assert not any(line.lstrip().startswith(FORGED) for line in text.split("\n"))
    if form == "programs":
        json.loads(ended.out)


@pytest.mark.parametrize(
    "option", ["--queue", "--unique-key", "--idempotency-key", "--tag", "--at", "--delay", "--schema"]
)
async def test_an_error_about_an_option_is_one_line(cli: CommandLine, option: str) -> None:
    ended = await cli.run("enqueue", "work", f"{option}={HOSTILE}")

    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert ended.err.rstrip("\n").isprintable()
    assert len(ended.err) < 500


async def test_a_target_of_a_worker_that_cannot_be_is_one_line(cli: CommandLine) -> None:
    for target in (HOSTILE, f"os:{HOSTILE}", f"{HOSTILE}:x", "os.path:join", "x" * 10_000):
        ended = await cli.run("worker", target)

        assert ended.code == 2
        assert ended.err.count("\n") == 1, ascii(ended.err)
        assert ended.err.rstrip("\n").isprintable()


async def _literal(sql: SQL) -> str:
    found: str = await sql.fetchval("SELECT quote_literal($1::text)", HOSTILE)
    return found
