"""`jobplane queues` and `jobplane workers`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from jobplane import JobQueue
from jobplane.cli.failures import ExitCode
from tests.cli.commands import Background, CommandLine
from tests.factories import SQL, make_job
from tests.support import until


async def test_a_queue_is_paused_and_resumed(cli: CommandLine, queue: JobQueue) -> None:
    paused = await cli.process("queues", "pause", "slow")
    (while_paused,) = await queue.list_queues()
    resumed = await cli.process("queues", "resume", "slow")
    (afterwards,) = await queue.list_queues()

    assert paused.code == resumed.code == 0
    assert while_paused.paused_at is not None
    assert afterwards.paused_at is None


async def test_a_queue_is_limited_and_the_limit_is_lifted(cli: CommandLine, queue: JobQueue) -> None:
    limited = await cli.process("queues", "limit", "slow", "3")
    (while_limited,) = await queue.list_queues()
    listed = await cli.run("queues", "list")
    document = (await cli.run("queues", "list", "--json")).document()
    lifted = await cli.process("queues", "limit", "slow", "none")
    (afterwards,) = await queue.list_queues()

    assert limited.code == lifted.code == 0
    assert "at most 3" in limited.out
    assert (while_limited.max_running, afterwards.max_running) == (3, None)
    assert "limit" in listed.out.splitlines()[0]
    assert [q["max_running"] for q in _items(document, "queues")] == [3]


async def test_a_limit_that_is_no_number_is_a_usage_error(cli: CommandLine, queue: JobQueue) -> None:
    for wrong in ("0", "many", "1e3", "\u0663", "1000000000000"):
        ended = await cli.run("queues", "limit", "slow", wrong)

        assert ended.code == ExitCode.USAGE, wrong
    assert await queue.list_queues() == []


async def test_the_list_shows_what_waits_and_what_nobody_can_run(cli: CommandLine, sql: SQL) -> None:
    await make_job(sql, queue="slow", type="unheard_of")
    await cli.run("queues", "pause", "fast")

    text = await cli.run("queues", "list")
    document = (await cli.run("queues", "list", "--json")).document()

    assert "unheard_of" in text.out
    assert "start one that does" in text.err
    assert [(q["name"], q["due"], q["paused_at"] is None) for q in _items(document, "queues")] == [
        ("fast", 0, False),
        ("slow", 1, True),
    ]
    assert [(u["queue"], u["type"], u["jobs"]) for u in _items(document, "unclaimable")] == [
        ("slow", "unheard_of", 1)
    ]


async def test_a_living_worker_is_listed_with_what_it_serves(
    cli: CommandLine, tasks: Path, start_worker: Callable[..., Background]
) -> None:
    background = start_worker("shop", "--queues", "default:3,slow:1")

    async def listed() -> list[dict[str, object]]:
        return _items((await cli.run("workers", "list", "--json")).document(), "workers")

    (worker,) = await until(listed)
    text = await cli.run("workers", "list")
    queues = _items((await cli.run("queues", "list", "--json")).document(), "queues")

    assert worker["pid"] == background.process.pid
    assert worker["queues"] == {"default": 3, "slow": 1}
    assert worker["types"] == ["charge", "fail", "greet"]
    assert str(worker["id"]) in text.out
    assert {q["name"]: q["slots"] for q in queues} == {"default": 3, "slow": 1}


async def test_a_hostile_queue_name_is_a_usage_error(cli: CommandLine) -> None:
    for verb in ("pause", "resume"):
        ended = await cli.run("queues", verb, "a; DROP TABLE jobs\x1b[31m")

        assert ended.code == ExitCode.USAGE
        assert "\x1b" not in ended.err


def _items(document: dict[str, object], key: str) -> list[dict[str, object]]:
    items = document[key]
    assert isinstance(items, list)
    return items
