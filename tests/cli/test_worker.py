"""`jobplane worker`, as a process of its own."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from jobplane import JobQueue, JobStatus, WorkerSettings
from jobplane.cli.failures import ExitCode
from tests.cli.commands import Background, CommandLine
from tests.factories import SQL
from tests.proxy import Proxy
from tests.support import WorkerProcess, until

NEWER = "INSERT INTO control_plane.jobplane_migrations (version, name, checksum) VALUES (999, 'later', 'x')"


async def test_jobs_run_and_each_has_its_line(
    cli: CommandLine, queue: JobQueue, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    background = start_worker("shop")
    good = await queue.enqueue("greet", {"name": "Ada"})
    bad = await queue.enqueue("fail", {"secret": "hunter2"}, max_attempts=1)

    await queue.wait(good.id, 20)
    await queue.wait(bad.id, 20)
    code = await background.stop()

    (finished,) = [line for line in background.lines() if f"greet {good.id}" in line]
    (failed,) = [line for line in background.lines() if f"fail {bad.id}" in line]
    (own,) = [line for line in background.lines() if "greeting Ada" in line]
    assert code == 0
    assert "INFO" in finished
    assert "completed attempt=1/3" in finished
    assert "queue=default" in finished
    assert "failed attempt=1/1" in failed
    assert "ValueError at " in failed
    assert "shop.py" in failed
    assert f"job_id={good.id} job_type=greet attempt=1" in own
    assert not any("hunter2" in line for line in background.lines())


async def test_json_lines_are_objects_one_for_each_event(
    cli: CommandLine, queue: JobQueue, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    background = start_worker("shop:queue", "--log-format", "json", "--log-level", "debug")
    made = await queue.enqueue("greet")
    await queue.wait(made.id, 20)
    await background.stop()

    entries = [json.loads(line) for line in background.lines()]

    (finished,) = [entry for entry in entries if entry.get("event") == "JobFinished"]
    assert finished["job_id"] == str(made.id)
    assert finished["job_type"] == "greet"
    assert (finished["outcome"], finished["attempt"], finished["queue"]) == ("completed", 1, "default")
    assert finished["duration_ms"] > 0
    assert {"WorkerStarted", "JobsClaimed", "JobStarted", "WorkerStopped"} <= {
        entry.get("event") for entry in entries
    }


@pytest.mark.parametrize("target", ["shop", "shop:queue", "shop:make", "shop:greet"])
async def test_a_target_may_be_a_module_a_queue_a_function_or_a_task(
    cli: CommandLine, queue: JobQueue, tasks: Path, start_worker: Callable[..., Background], target: str
) -> None:
    start_worker(target)
    made = await queue.enqueue("greet")

    job = await queue.wait(made.id, 20)

    assert job.status is JobStatus.COMPLETED
    assert job.result == "hello you"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nosuch", "there is no module 'nosuch'"),
        ("nosuch.below:queue", "there is no module 'nosuch'"),
        ("shop.below", "there is no module"),
        ("shop:nothing", "module shop has no 'nothing' (for 'shop:nothing'); it has empty, queue"),
        ("shop:number", "is a int"),
        ("shop:empty", "has no tasks"),
        ("shop:make_with", "needs arguments"),
        ("json", "has no tasks"),
        ("shop.py", "there is no module"),
        ("./shop", "is not MODULE or MODULE:OBJECT"),
        ("", "is not MODULE or MODULE:OBJECT"),
        ("sh\x1b[31mop", "is not MODULE or MODULE:OBJECT"),
    ],
    ids=str,
)
async def test_a_target_that_cannot_be_used_is_a_usage_error(
    cli: CommandLine, tasks: Path, target: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(cli.folder))

    ended = await cli.run("worker", target)

    assert ended.code == ExitCode.USAGE
    assert says in ended.err
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err


async def test_a_module_that_fails_to_import_shows_its_own_traceback(cli: CommandLine) -> None:
    (cli.folder / "broken.py").write_text("import not_installed_anywhere\n")
    (cli.folder / "wrong.py").write_text("len(5)\n")

    missing = await cli.process("worker", "broken")
    wrong = await cli.process("worker", "wrong")

    assert "ModuleNotFoundError: No module named 'not_installed_anywhere'" in missing.err
    assert "Traceback" in missing.err
    assert "TypeError: object of type 'int' has no len()" in wrong.err
    assert missing.code == wrong.code == 1


async def test_two_tasks_of_one_name_are_refused(cli: CommandLine, tasks: Path) -> None:
    (cli.folder / "other.py").write_text(
        "from jobplane import task\n\n@task\nasync def greet() -> None: ...\n", encoding="utf-8"
    )

    ended = await cli.process("worker", "shop", "other")

    assert ended.code == ExitCode.REFUSED
    assert "two tasks are named 'greet'" in ended.err


async def test_settings_come_from_options_then_variables(
    cli: CommandLine, sql: SQL, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    start_worker("shop", "--queues", "fast:2", JOBPLANE_QUEUES="ignored:1", JOBPLANE_HEARTBEAT_INTERVAL="0.1")

    async def beaten() -> bool:
        return bool(
            await sql.fetchval("SELECT count(*) FROM control_plane.workers WHERE heartbeat_at > started_at")
        )

    await until(beaten)
    assert await sql.fetchval("SELECT queues::text FROM control_plane.workers") == '{"fast": 2}'


@pytest.mark.parametrize(
    "options",
    [
        ["--queues", "a b"],
        ["--lease", "soon"],
        ["--lease", "1"],
        ["--threads", "0"],
        ["--log-format", "xml"],
        ["--watch"],
    ],
    ids=" ".join,
)
async def test_a_setting_that_cannot_be_is_a_usage_error(
    cli: CommandLine, tasks: Path, options: list[str]
) -> None:
    ended = await cli.run("worker", "shop", *options)

    assert ended.code == ExitCode.USAGE
    assert ended.err


async def test_every_worker_setting_is_an_option(cli: CommandLine) -> None:
    shown = await cli.run("worker", "--help")

    missing = [
        item.name for item in fields(WorkerSettings) if f"--{item.name.replace('_', '-')}" not in shown.out
    ]

    assert missing == []


async def test_a_worker_refuses_to_start_without_the_tables(bare_cli: CommandLine, tasks: Path) -> None:
    ended = await bare_cli.process("worker", "shop")

    assert ended.code == ExitCode.REFUSED
    assert "run jobplane migrate up" in ended.err


async def test_a_worker_runs_on_a_newer_database_and_says_so(
    cli: CommandLine, queue: JobQueue, sql: SQL, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    """F15: in a rolling deploy the schema comes first, and workers of the last release restart on it."""
    await sql.execute(NEWER)
    background = start_worker("shop")
    made = await queue.enqueue("greet")

    job = await queue.wait(made.id, 20)
    code = await background.stop()

    assert job.status is JobStatus.COMPLETED
    assert code == 0
    (warning,) = [line for line in background.lines() if "WARNING" in line]
    assert "newer than the code: it has 999_later" in warning


async def test_a_worker_refuses_a_newer_database_that_says_it_is_too_old(
    cli: CommandLine, sql: SQL, tasks: Path
) -> None:
    await sql.execute(NEWER)
    await sql.execute("COMMENT ON TABLE control_plane.jobplane_migrations IS 'oldest code: 998'")

    ended = await cli.process("worker", "shop")

    assert ended.code == ExitCode.REFUSED
    assert "runs only code that knows migration 998" in ended.err
    assert "Upgrade jobplane" in ended.err


async def test_a_worker_refuses_a_database_that_does_not_exist(
    cli: CommandLine, database_url: str, tasks: Path
) -> None:
    ended = await cli.process("worker", "shop", DATABASE_URL=f"{database_url.rpartition('/')[0]}/not_there")

    assert ended.code == ExitCode.UNAVAILABLE
    assert '"not_there" does not exist' in ended.err


async def test_a_worker_waits_for_a_database_that_is_away_and_then_works(
    cli: CommandLine, queue: JobQueue, database_url: str, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    made = await queue.enqueue("greet")
    async with Proxy(database_url) as proxy:
        proxy.cut()
        background = start_worker("shop", DATABASE_URL=proxy.url)

        async def waits() -> bool:
            return any("waiting for the database" in line for line in background.lines())

        await until(waits)
        proxy.heal()
        job = await queue.wait(made.id, 20)
        code = await background.stop()

    assert job.status is JobStatus.COMPLETED
    assert code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_a_worker_that_still_waits_for_its_database(
    cli: CommandLine, tasks: Path, start_worker: Callable[..., Background], number: signal.Signals
) -> None:
    background = start_worker("shop", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")

    async def waits() -> bool:
        return any("waiting for the database" in line for line in background.lines())

    await until(waits)

    assert await background.stop(number) == 0


async def test_the_worker_of_the_test_suite_runs_its_handlers(
    queue: JobQueue, spawn_worker: Callable[..., WorkerProcess]
) -> None:
    process = spawn_worker()
    made = await queue.enqueue("work", {"marker": "here"})

    job = await queue.wait(made.id, 20)
    process.signal(signal.SIGINT)

    assert job.result == "here"
    assert await process.exit_code() == 0
