"""`jobplane history`: on, off and status, as operators type them."""

from __future__ import annotations

from jobplane import JobQueue
from jobplane.cli.failures import ExitCode
from tests.cli.commands import CommandLine
from tests.factories import SQL


async def test_a_history_is_kept_from_on_until_off(cli: CommandLine, queue: JobQueue, sql: SQL) -> None:
    before = await cli.run("history", "status")
    await queue.enqueue("work", {})
    on = await cli.run("history", "on")
    await queue.enqueue("work", {})
    kept = (await cli.run("history", "status", "--json")).document()
    off = await cli.run("history", "off")
    await queue.enqueue("work", {})
    after = (await cli.run("history", "status", "--json")).document()

    assert (before.code, on.code, off.code) == (0, 0, 0)
    assert "not kept" in before.out
    assert "jobplane history on" in before.err
    assert "jobplane verify" in on.out
    assert off.out == "history is not kept\n"
    assert (kept["on"], kept["transitions"]) == (True, 1)
    assert kept["first"] == kept["last"] >= str(kept["since"])  # type: ignore[operator] # ISO times
    assert (after["on"], after["since"], after["transitions"]) == (False, None, 1)


async def test_on_twice_keeps_on_from_the_first_time(cli: CommandLine) -> None:
    await cli.run("history", "on")
    first = (await cli.run("history", "status", "--json")).document()

    again = await cli.process("history", "on")

    assert again.code == 0
    assert (await cli.run("history", "status", "--json")).document() == first


async def test_a_database_without_tables_says_to_migrate(bare_cli: CommandLine) -> None:
    for verb in ("on", "status"):
        ended = await bare_cli.run("history", verb)

        assert ended.code == ExitCode.REFUSED
        assert "migrate up" in ended.err


async def test_off_is_off_also_where_there_are_no_tables(bare_cli: CommandLine) -> None:
    ended = await bare_cli.run("history", "off")

    assert (ended.code, ended.err) == (0, "")
