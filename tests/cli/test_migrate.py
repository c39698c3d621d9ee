"""`jobplane migrate`."""

from __future__ import annotations

import asyncpg

from jobplane.cli.failures import ExitCode
from jobplane.store.migrator import migrations
from tests.cli.commands import CommandLine

NEWEST = migrations()[-1].version


async def test_an_empty_database_is_migrated_shown_and_undone(bare_cli: CommandLine) -> None:
    before = await bare_cli.process("migrate", "status", "--json")
    up = await bare_cli.process("migrate", "up")
    after = await bare_cli.process("migrate", "status", "--json")
    down = await bare_cli.process("migrate", "down", "--to", "0", "--yes")
    at_last = await bare_cli.process("migrate", "status")

    assert before.document()["missing"] == NEWEST
    assert up.code == 0
    assert up.out.splitlines() == [f"applied {step.version:03}_{step.name}" for step in migrations()]
    assert after.document()["missing"] == 0
    assert down.code == 0
    assert down.out.splitlines()[0] == f"undone {NEWEST:03}_{migrations()[-1].name}"
    assert len(down.out.splitlines()) == NEWEST
    assert at_last.out.count("missing") == NEWEST
    assert "jobplane migrate up" in at_last.err


async def test_up_stops_at_the_version_asked_for_and_goes_on_later(bare_cli: CommandLine) -> None:
    some = await bare_cli.run("migrate", "up", "--to", "3")
    rest = await bare_cli.run("migrate", "up")
    again = await bare_cli.run("migrate", "up")

    assert len(some.out.splitlines()) == 3
    assert rest.out.splitlines()[0].startswith("applied 004")
    assert again.out == "nothing to do: the schema is current\n"


async def test_the_schema_option_chooses_another_schema(bare_cli: CommandLine) -> None:
    await bare_cli.run("migrate", "up", "--schema", "elsewhere")

    here = await bare_cli.run("migrate", "status", "--json")
    there = await bare_cli.run("migrate", "status", "--json", "--schema", "elsewhere")

    assert here.document()["missing"] == NEWEST
    assert there.document()["missing"] == 0


async def test_down_does_nothing_without_an_answer(cli: CommandLine) -> None:
    refused = await cli.process("migrate", "down", "--to", "0")

    assert refused.code == ExitCode.USAGE
    assert "--yes" in refused.err
    assert (await cli.run("migrate", "status", "--json")).document()["missing"] == 0


async def test_a_version_that_does_not_exist_is_refused(cli: CommandLine) -> None:
    for verb in (["up"], ["down", "--yes"], ["sql"]):
        ended = await cli.run("migrate", *verb, "--to", "99")

        assert ended.code == ExitCode.USAGE
        assert f"from 0 to {NEWEST}; got 99" in ended.err


async def test_a_database_newer_than_the_code_is_left_alone(
    cli: CommandLine, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    await sql.execute(
        "INSERT INTO control_plane.jobplane_migrations (version, name, checksum) VALUES (99, 'later', 'x')"
    )

    up = await cli.run("migrate", "up")
    status = await cli.run("migrate", "status")

    assert up.code == status.code == ExitCode.REFUSED
    assert "099_later" in up.err
    assert "newer than the code" in status.err


async def test_a_role_without_rights_gets_the_servers_words_and_no_traceback(
    bare_cli: CommandLine, empty_database_url: str
) -> None:
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute("CREATE ROLE jobplane_test_powerless LOGIN PASSWORD 'x'")
        ended = await bare_cli.run(
            "migrate", "up", DATABASE_URL=_as_role(empty_database_url, "jobplane_test_powerless", "x")
        )
    finally:
        await connection.execute("DROP ROLE jobplane_test_powerless")
        await connection.close()

    assert ended.code == ExitCode.REFUSED
    assert "permission denied" in ended.err
    assert ended.err.count("\n") == 1


def _as_role(url: str, role: str, password: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{role}:{password}@{rest.rpartition('@')[2]}"
