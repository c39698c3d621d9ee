"""`jobplane schedules`."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from jobplane import JobQueue
from jobplane.cli.failures import ExitCode
from tests.cli.commands import CommandLine


async def test_a_schedule_from_creation_to_deletion(cli: CommandLine, queue: JobQueue) -> None:
    create = [
        "schedules",
        "create",
        "nightly",
        "0 3 * * *",
        "work",
        '{"a": 1}',
        "--timezone",
        "Europe/Berlin",
    ]
    more = [
        "--missed",
        "all",
        "--missed-cap",
        "5",
        "--queue",
        "mail",
        "--priority",
        "2",
        "--max-attempts",
        "4",
    ]

    created = await cli.process(*create, *more, "--unique-key", "one", "--tag", "x", "--tag", "y")
    again = await cli.run(*create, *more, "--unique-key", "one", "--tag", "x", "--tag", "y")
    changed = await cli.run(*create)
    paused = await cli.run("schedules", "pause", "nightly")
    (while_paused,) = await queue.list_schedules()
    resumed = await cli.run("schedules", "resume", "nightly")
    ran = await cli.run("schedules", "run", "nightly")
    deleted = await cli.run("schedules", "delete", "nightly")

    assert [ended.out for ended in (created, again, changed)] == [
        "schedule nightly created\n",
        "schedule nightly unchanged\n",
        "schedule nightly changed\n",
    ]
    assert {ended.code for ended in (created, again, changed, paused, resumed, ran, deleted)} == {0}
    assert while_paused.paused_at is not None
    job = await queue.get_job(UUID(ran.out.strip()))
    assert job is not None
    assert job.tags == ("schedule:nightly",)
    assert await queue.list_schedules() == []


async def test_the_list_is_a_table_or_a_document(cli: CommandLine) -> None:
    nothing = await cli.run("schedules", "list")
    await cli.run("schedules", "create", "nightly", "0 3 * * *", "work", "--tag", "x")

    text = await cli.run("schedules", "list")
    document = (await cli.run("schedules", "list", "--json")).document()

    assert "make one with" in nothing.out
    assert "nightly" in text.out
    assert "0 3 * * *" in text.out
    listed = document["schedules"]
    assert isinstance(listed, list)
    (schedule,) = listed
    assert schedule["cron"] == "0 3 * * *"
    assert schedule["tags"] == ["x"]
    assert schedule["last_tick"] is None
    assert str(schedule["next_tick"]).endswith("03:00:00+00:00")


async def test_what_is_wrong_is_said_with_its_exit_code(cli: CommandLine) -> None:
    for args, code, words in (
        (("create", "s", "0 0 31 2 *", "work"), ExitCode.USAGE, "never runs"),
        (("create", "s", "@daily", "work", "--timezone", "Mars"), ExitCode.USAGE, "timezone"),
        (("create", "s", "@daily", "work", "[1]"), ExitCode.USAGE, "JSON object"),
        (("create", "s", "@daily", "work", "--missed", "never"), ExitCode.USAGE, "missed"),
        (("create", "a\x1b[31m", "@daily", "work"), ExitCode.USAGE, "name"),
        (("pause", "unheard-of"), ExitCode.NOT_FOUND, "there is no schedule unheard-of"),
        (("run", "unheard-of"), ExitCode.NOT_FOUND, "there is no schedule unheard-of"),
    ):
        ended = await cli.run("schedules", *args)

        assert ended.code == code, args
        assert words in ended.err
        assert "\x1b" not in ended.err


async def test_running_what_is_unfinished_already_says_so(cli: CommandLine) -> None:
    await cli.run("schedules", "create", "s", "@daily", "work", "--unique-key", "one")
    first = await cli.run("schedules", "run", "s")
    second = await cli.run("schedules", "run", "s")

    assert first.out == second.out
    assert "unfinished job has its unique key" in second.err


async def test_with_its_module_a_schedule_makes_jobs_with_the_options_of_their_task(
    cli: CommandLine, queue: JobQueue, tasks: Path
) -> None:
    made = await cli.process(
        "schedules", "create", "s", "@daily", "charge", "--tasks", "shop:queue", "--tag", "x"
    )

    (schedule,) = await queue.list_schedules()
    assert made.code == 0
    assert (schedule.queue, schedule.max_attempts, schedule.priority, schedule.tags) == (
        "tills",
        1,
        4,
        ("x",),
    )
