"""S1: names are data. Whatever someone gives for a name is stored as it is, or refused by an error that names the field;
nothing of it is ever run.

Through the asynchronous and the synchronous client, the command line, the SQL function, and the settings of workers.
The HTTP API will be added here with its routes: the same names in bodies, paths and query parameters, 422 for a refusal.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from jobplane import DatabaseSettings, InvalidInputError, JobQueue, SyncJobQueue
from jobplane.cli.failures import ExitCode
from jobplane.errors import ConfigurationError, SchemaError
from jobplane.ids import id_from_key
from jobplane.job import EnqueueJobResult
from jobplane.options import JobQueueOptions
from jobplane.settings import WorkerSettings, parse_queues, resolve
from jobplane.sql import channel
from jobplane.store.migrator import Migrator, migrations, sql_of
from tests.cli.commands import CommandLine
from tests.factories import SQL, row_of
from tests.security import ast_rules
from tests.security.support import HOSTILE, catalogue

ROOT: Final = Path(__file__).parent.parent.parent
FIELDS: Final = ("type", "queue", "unique_key", "idempotency_key", "tags")
NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,100}")
SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,47}")


def _options(field: str, name: str) -> tuple[str, JobQueueOptions]:
    """The type and the options of a job that has the name in one field."""
    match field:
        case "type":
            return name, {}
        case "queue":
            return "work", {"queue": name}
        case "unique_key":
            return "work", {"unique_key": name}
        case "idempotency_key":
            return "work", {"idempotency_key": name}
        case _:
            return "work", {"tags": [name]}


async def _is_stored(sql: SQL, made: EnqueueJobResult, field: str, name: str) -> bool:
    row = await row_of(sql, made.id)
    kept = {
        "type": row["type"],
        "queue": row["queue"],
        "unique_key": row["unique_key"],
        "tags": (row["tags"] or [None])[0],
        # A key is not kept: it makes the id.
        "idempotency_key": name if made.id == id_from_key(name) else None,
    }
    return bool(kept[field] == name)


def _may_pass(field: str, name: str) -> bool:
    """What the documentation promises: types and queues of few characters, keys of 1 to 255 printable ones."""
    return (
        bool(NAME.fullmatch(name))
        if field in ("type", "queue")
        else 1 <= len(name) <= 255 and name.isprintable()
    )


def test_there_are_more_than_forty_hostile_names_and_each_kind_of_field_takes_some_and_refuses_some() -> None:
    assert len(set(HOSTILE)) > 40
    for field in FIELDS:
        assert {_may_pass(field, name) for name in HOSTILE} == {True, False}


@pytest.mark.parametrize("field", FIELDS)
async def test_the_asynchronous_client_stores_a_name_as_it_is_or_names_the_field(
    queue: JobQueue, sql: SQL, field: str
) -> None:
    before = await catalogue(sql)

    for name in HOSTILE:
        job_type, options = _options(field, name)
        try:
            made = await queue.enqueue(job_type, **options)
        except InvalidInputError as error:
            assert not _may_pass(field, name)
            assert error.field == field
            assert str(error).isprintable()
            assert len(str(error)) < 300
        else:
            assert _may_pass(field, name)
            assert await _is_stored(sql, made, field, name), ascii(name)

    assert await catalogue(sql) == before


@pytest.mark.parametrize("field", FIELDS)
async def test_the_synchronous_client_stores_a_name_as_it_is_or_names_the_field(
    settings: DatabaseSettings, sql: SQL, field: str
) -> None:
    before = await catalogue(sql)

    with SyncJobQueue(settings=settings) as client:
        for name in HOSTILE:
            job_type, options = _options(field, name)
            try:
                made = client.enqueue(job_type, **options)
            except InvalidInputError as error:
                assert not _may_pass(field, name)
                assert error.field == field
            else:
                assert await _is_stored(sql, made, field, name), ascii(name)

    assert await catalogue(sql) == before


@pytest.mark.parametrize("field", FIELDS)
async def test_the_command_line_stores_a_name_as_it_is_or_names_the_field(
    cli: CommandLine, sql: SQL, field: str
) -> None:
    before = await catalogue(sql)

    for name in HOSTILE:
        if field == "type":
            ended = await cli.run("enqueue", "--json", "--", name)
        else:
            option = f"--{field.removesuffix('s').replace('_', '-')}"
            ended = await cli.run("enqueue", "--json", "work", f"{option}={name}")
        if _may_pass(field, name):
            assert ended.code == 0, ascii(ended)
            made = json.loads(ended.out)
            found = await sql.fetchval(
                "SELECT row_to_json(j) FROM control_plane.jobs AS j WHERE id = $1", made["id"]
            )
            row = json.loads(found)
            assert field == "idempotency_key" or name in (row[field], *(row["tags"] or ())), ascii(name)
        else:
            assert ended.code == ExitCode.USAGE, ascii(ended)
            assert field in ended.err
            assert len(ended.err.splitlines()) == 1

    assert await catalogue(sql) == before


@pytest.mark.parametrize("field", ["type", "queue", "unique_key"])
async def test_the_sql_function_stores_a_name_as_it_is_or_names_the_field(sql: SQL, field: str) -> None:
    statement = {
        "type": "SELECT control_plane.enqueue_job($1)",
        "queue": "SELECT control_plane.enqueue_job('work', queue => $1)",
        "unique_key": "SELECT control_plane.enqueue_job('work', unique_key => $1)",
    }[field]
    before = await catalogue(sql)

    for name in HOSTILE:
        try:
            job_id = await sql.fetchval(statement, name)
        except asyncpg.InvalidParameterValueError as error:
            assert str(error).startswith(field)
        except (asyncpg.CharacterNotInRepertoireError, UnicodeEncodeError, asyncpg.DataError):
            assert "\0" in name or not name.isprintable(), "no text that PostgreSQL can be sent"
        else:
            assert (await row_of(sql, job_id))[field] == name

    assert await catalogue(sql) == before


async def test_a_filter_finds_what_has_the_name_and_nothing_else(queue: JobQueue) -> None:
    keys = [name for name in HOSTILE if _may_pass("tags", name)]
    made = {name: (await queue.enqueue("work", tags=[name])).id for name in keys}

    for name in keys:
        assert [job.id for job in (await queue.list_jobs(tag=name)).jobs] == [made[name]], ascii(name)
    for name in HOSTILE:
        for field in ("type", "queue", "status", "cursor"):
            try:
                page = await queue.list_jobs(**{field: name})  # type: ignore[arg-type]
            except InvalidInputError as error:
                assert error.field == field
            else:
                assert page.jobs == (), ascii((field, name))


async def test_pausing_a_queue_stores_its_name_or_names_the_field(queue: JobQueue, sql: SQL) -> None:
    for name in HOSTILE:
        try:
            await queue.pause_queue(name)
            await queue.resume_queue(name)
        except InvalidInputError as error:
            assert error.field == "queue"
        else:
            assert await sql.fetchval("SELECT count(*) FROM control_plane.queues WHERE name = $1", name) == 1


async def test_a_schema_name_is_a_plain_identifier_or_refused_wherever_it_is_given(
    cli: CommandLine, settings: DatabaseSettings, sql: SQL
) -> None:
    before = await catalogue(sql)

    for name in HOSTILE:
        ended = await cli.run("jobs", "list", f"--schema={name}")
        if SCHEMA.fullmatch(name):
            assert ended.code == ExitCode.REFUSED, "there are no tables in it"
            assert "jobplane migrate up" in ended.err
            continue
        with pytest.raises(ConfigurationError, match=r"^schema must match"):
            DatabaseSettings(url=settings.url, schema=name)
        with pytest.raises(ConfigurationError, match=r"^schema must match"):
            resolve(DatabaseSettings, {}, url=settings.url, schema=name)
        if name:  # an empty variable is none
            with pytest.raises(ConfigurationError, match="JOBPLANE_SCHEMA"):
                resolve(DatabaseSettings, {"JOBPLANE_SCHEMA": name}, url=settings.url)
        assert ended.code == ExitCode.USAGE
        assert "schema must match" in ended.err

    assert await catalogue(sql) == before


@pytest.mark.parametrize("schema", ["select", "user", "table", "_", "x" * 48, "jobs"])
async def test_a_schema_named_like_a_word_of_sql_works(empty_database_url: str, schema: str) -> None:
    settings = resolve(DatabaseSettings, {}, url=empty_database_url, schema=schema).settings
    await Migrator(settings).up()

    async with JobQueue(settings=settings) as queue:
        made = await queue.enqueue("work", unique_key="k")
        assert await queue.get_job(made.id) is not None
    with SyncJobQueue(settings=settings) as client:
        assert client.enqueue("work", unique_key="k").existing
    await Migrator(settings).down(0)


def test_the_schema_is_quoted_wherever_a_migration_names_it() -> None:
    for migration in migrations():
        for down in (False, True):
            text = sql_of(migration, "select", down=down).replace(channel("select"), "")
            assert not re.search(r'(?<!")\bselect\b\.', text), migration.name


def test_settings_of_workers_take_names_and_numbers_or_name_the_setting() -> None:
    for name in HOSTILE:
        for setting in ("poll_interval", "threads", "lease", "grace"):
            given: dict[str, object] = {setting: name}
            try:
                resolve(WorkerSettings, {}, **given)
            except ConfigurationError as error:
                assert str(error).startswith(setting)
                assert str(error).isprintable()
            else:
                assert re.fullmatch(r"\s*[0-9.e]+\s*", name), ascii((setting, name))
        if all(NAME.fullmatch(part) for part in name.split(",")):
            assert set(parse_queues(name)) == set(name.split(","))
            continue
        try:
            parsed = parse_queues(name)
        except ConfigurationError as error:
            assert str(error).startswith("queues ")
            assert str(error).isprintable()
        else:
            assert all(NAME.fullmatch(found) for found in parsed), ascii(name)


@pytest.mark.parametrize(
    "text", ["a:0", "a:-1", "a:10001", "a:99999999999999999999", "a:" + "9" * 5000, "a:\u0663", "a:1:2", "a: 1", ":3", "a:+1"]
)  # fmt: skip
def test_a_queue_limit_that_cannot_be_is_refused_with_the_bounds(text: str) -> None:
    with pytest.raises(ConfigurationError, match="limits from 1 to 10000"):
        parse_queues(text)


# -- nothing is put together -----------------------------------------------------------------------------------


def _sources() -> Mapping[str, ast.Module]:
    return ast_rules.sources(ROOT / "src" / "jobplane", ROOT / "examples" / "control_plane")


def test_what_reaches_a_driver_is_a_literal_or_a_file_of_sql_and_every_exception_is_needed() -> None:
    found = list(ast_rules.sql_arguments(_sources()))

    assert [place for place in found if (place.file, place.what) not in ast_rules.ALLOWED] == []
    assert {(place.file, place.what) for place in found} == set(ast_rules.ALLOWED), (
        "an exception that nothing needs"
    )


def test_no_statement_is_put_together_from_text() -> None:
    assert list(ast_rules.assembled_sql(_sources())) == []


@pytest.mark.parametrize(
    "code",
    [
        "c.execute(f'SELECT {x}')",
        "c.execute('SELECT ' + x)",
        "c.execute('SELECT %s' % x)",
        "c.execute('SELECT {}'.format(x))",
        "c.fetch(query, 1)",
        "await c.fetchval(make(x))",
        "c.execute((x + 'y').encode())",
    ],
)
def test_the_rule_finds_text_that_is_put_together(code: str) -> None:
    assert list(ast_rules.sql_arguments({"x.py": ast.parse(code)}))


def test_the_rule_about_statements_finds_each_way_to_put_one_together() -> None:
    for code in ("f'SELECT {x}'", "'DELETE FROM ' + x", "'UPDATE %s' % x", "'INSERT INTO {}'.format(x)"):
        assert list(ast_rules.assembled_sql({"x.py": ast.parse(code)})), code


def _unexplained(*paths: str) -> list[str]:
    """What bandit finds and no `noqa: S... - reason` beside the line explains (ruff's S rules are bandit's by number)."""
    command = [sys.executable, "-m", "bandit", "-q", "-r", "-c", "pyproject.toml", "-f", "json", *paths]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["errors"] == []
    found = []
    for one in report["results"]:
        rule = f"S{one['test_id'].removeprefix('B')}"
        # No password is the one that is hard-coded here and there.
        if re.search(rf"noqa: [\w, ]*\b{rule}\b.* - \w", one["code"]) or one["issue_text"].endswith(": ''"):
            continue
        found.append(f"{one['filename']}:{one['line_number']} {one['test_id']} {one['issue_text']}")
    return found


@pytest.mark.developer("bandit")
def test_bandit_has_nothing_to_say_that_is_not_explained_beside_the_line() -> None:
    assert _unexplained("src", "tools") == []


@pytest.mark.developer("bandit")
def test_bandit_is_really_asked(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text(
        "import subprocess, pickle\n"
        "def f(x, c):\n"
        "    subprocess.call(x, shell=True)\n"
        "    c.execute('SELECT * FROM t WHERE a = %s' % x)\n"
        "    return pickle.loads(x)\n"
    )

    found = " ".join(_unexplained(str(tmp_path)))

    assert all(rule in found for rule in ("B602", "B608", "B301"))


async def test_a_schema_that_nobody_made_is_an_error_that_says_what_to_do(settings: DatabaseSettings) -> None:
    nowhere = resolve(DatabaseSettings, {}, url=settings.url, schema="nowhere").settings
    async with JobQueue(settings=nowhere) as queue:
        with pytest.raises(SchemaError, match="jobplane migrate up"):
            await queue.enqueue("work")
