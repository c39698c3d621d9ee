"""`jobplane migrate sql`: the migrations in the hands of other tools."""

from __future__ import annotations

import asyncpg

from jobplane.cli.export import Format, files, statements
from jobplane.cli.failures import ExitCode
from jobplane.store.migrator import migrations
from tests.cli.commands import CommandLine

NEWEST = migrations()[-1].version


async def test_the_plain_script_does_what_migrate_up_does_and_its_way_back_undoes_it(
    bare_cli: CommandLine, empty_database_url: str
) -> None:
    up = (await bare_cli.process("migrate", "sql")).out
    down = (await bare_cli.run("migrate", "sql", "--down")).out

    await _apply(empty_database_url, up)
    migrated = (await bare_cli.run("migrate", "status", "--json")).document()
    nothing_left = await bare_cli.run("migrate", "up")
    await _apply(empty_database_url, down)
    undone = (await bare_cli.run("migrate", "status", "--json")).document()

    assert migrated["missing"] == 0
    assert nothing_left.out == "nothing to do: the schema is current\n"
    assert undone["missing"] == NEWEST


async def test_the_files_of_dbmate_apply_and_roll_back_one_after_the_other(
    bare_cli: CommandLine, empty_database_url: str
) -> None:
    halves = [file.text.split("-- migrate:down", 1) for file in files(Format.DBMATE, "control_plane", NEWEST)]

    for up, _ in halves:
        await _send_as_dbmate(empty_database_url, up)
    migrated = (await bare_cli.run("migrate", "status", "--json")).document()
    for _, down in reversed(halves):
        await _send_as_dbmate(empty_database_url, down)
    undone = (await bare_cli.run("migrate", "status", "--json")).document()

    assert migrated["missing"] == 0
    assert undone["missing"] == NEWEST


def test_alembic_files_are_python_and_form_one_chain() -> None:
    found = files(Format.ALEMBIC, "control_plane", NEWEST)

    modules = []
    for file in found:
        names: dict[str, object] = {}
        code = file.text.replace("from alembic import op\n", "")
        exec(compile(code, file.name, "exec"), names)
        modules.append(names)

    assert [module["revision"] for module in modules] == [f"jobplane_{n:03}" for n in range(1, NEWEST + 1)]
    assert [module["down_revision"] for module in modules[1:]] == [
        module["revision"] for module in modules[:-1]
    ]
    assert modules[0]["down_revision"] is None
    assert modules[0]["branch_labels"] == ("jobplane",)


def test_only_online_steps_leave_the_transaction() -> None:
    online = {step.version for step in migrations() if step.up.startswith("-- online")}

    alembic = {
        int(f.name[9:12])
        for f in files(Format.ALEMBIC, "s", NEWEST)
        if "autocommit" in f.text.split("def down")[0]
    }
    flyway = {
        int(f.name[1:4])
        for f in files(Format.FLYWAY, "s", NEWEST)
        if f.name.startswith("V") and f.name.endswith(".conf")
    }
    dbmate = {
        int(f.name[8:11])
        for f in files(Format.DBMATE, "s", NEWEST)
        if "migrate:up transaction:false" in f.text
    }

    assert online
    assert alembic == flyway == dbmate == online


async def test_files_are_written_once_and_never_over_an_edited_one(cli: CommandLine) -> None:
    folder = cli.folder / "migrations"

    first = await cli.run("migrate", "sql", "--format", "flyway", "--output", str(folder))
    again = await cli.run("migrate", "sql", "--format", "flyway", "--output", str(folder))
    edited = folder / "V003__jobplane_create_jobs_table.sql"
    edited.write_text("-- mine")
    refused = await cli.run("migrate", "sql", "--format", "flyway", "--output", str(folder))

    assert str(edited) in first.out.splitlines()
    assert again.out == ""
    assert refused.code == ExitCode.REFUSED
    assert edited.name in refused.err
    assert edited.read_text() == "-- mine"


async def test_options_that_do_not_fit_together_are_refused(cli: CommandLine) -> None:
    for options in (
        ["--format", "alembic"],
        ["--output", "here"],
        ["--format", "dbmate", "--output", "here", "--down"],
    ):
        ended = await cli.run("migrate", "sql", *options)

        assert ended.code == ExitCode.USAGE, options
        assert not (cli.folder / "here").exists()


async def test_a_folder_that_cannot_be_written_is_one_line(cli: CommandLine) -> None:
    (cli.folder / "file").write_text("")

    ended = await cli.run(
        "migrate", "sql", "--format", "dbmate", "--output", str(cli.folder / "file" / "below")
    )

    assert ended.code == ExitCode.REFUSED
    assert "cannot be written to" in ended.err


def test_statements_end_at_semicolons_that_are_not_inside_of_something() -> None:
    text = """
        -- a comment; with a semicolon and an ' apostrophe
        SELECT 'it''s; fine', "odd;name";
        /* block; comment */ CREATE FUNCTION f() AS $body$ BEGIN; $$;$$; END; $body$;
        DO $$ SELECT 1; $$
        -- the end;
    """

    found = statements(text)

    assert len(found) == 3
    assert found[0].endswith('"odd;name"')
    assert found[1].endswith("$body$")
    assert statements("-- nothing;\n ") == []


async def _apply(url: str, script: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements(script):
            await connection.execute(statement)
    finally:
        await connection.close()


async def _send_as_dbmate(url: str, half: str) -> None:
    """As dbmate does: the whole text at once, which PostgreSQL runs as one transaction if it is more than one statement."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(half.removeprefix(" transaction:false"))
    finally:
        await connection.close()
