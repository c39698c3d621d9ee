"""S2: a payload is a JSON object and stays one. Nothing that is stored is ever evaluated, unpickled or imported.

The limit of the contract is 1 MiB. It is checked by the clients, the command line and the SQL function; a plain INSERT of
a foreign producer passes them by, so a worker must fail such a job in order and go on. The HTTP API will be added here:
413 for the size, 422 for depth, duplicate keys and NaN.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import pytest

from jobplane import InvalidInputError, JobContext, JobQueue, JobStatus, Worker
from jobplane.cli.failures import ExitCode
from jobplane.errors import TaskDefinitionError
from jobplane.events import ServiceFailed
from jobplane.limits import MAX_PAYLOAD_BYTES
from jobplane.task import Registry, TaskSettings, TaskSpec
from tests.cli.commands import CommandLine
from tests.factories import SQL, count_jobs, row_of
from tests.security import ast_rules
from tests.support import Recorder, until

ROOT: Final = Path(__file__).parent.parent.parent
IMPORTABLE: Final = (
    "os.system",
    "builtins.eval",
    "subprocess:run",
    "posix",
    "os",
    "eval",
    "__import__",
    "tests.handlers.work",
)


# -- nothing is evaluated --------------------------------------------------------------------------------------


def test_the_package_neither_unpickles_nor_evaluates_nor_imports_what_is_stored() -> None:
    assert list(ast_rules.evaluating(ast_rules.sources(ROOT / "src" / "jobplane", ROOT / "examples"))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from marshal import loads",
        "import shelve as s",
        "import yaml",
        "import dill",
        "eval(x)",
        "exec(x)",
        "builtins.eval(x)",
        "__import__(job.type)",
        "importlib.import_module(job.type)",
        "compile(x, '', 'exec')",
    ],
)
def test_the_rule_finds_each_way_to_run_what_is_stored(code: str) -> None:
    assert list(ast_rules.evaluating({"x.py": ast.parse(code)}))


@pytest.mark.parametrize(
    "name", ["os.system", "builtins.eval", "subprocess:run", "a/b", "tests.handlers.work", "é"]
)
def test_a_dotted_path_is_no_job_type(name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"^type must be"):
        TaskSpec(len, name, TaskSettings())


async def test_a_type_that_names_something_importable_is_unknown_and_waits(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """Also where a foreign INSERT wrote it: it is looked up in the registry, and nothing is imported for it."""

    @queue.task
    async def known() -> str:
        return "fine"

    for name in IMPORTABLE:
        await sql.execute(
            """INSERT INTO control_plane.jobs (type, payload) VALUES ($1, '{"args": ["true"]}')""", name
        )
    made = await known.enqueue()

    async with make_worker(queue):
        await queue.wait(made.id, 10)

    rows = await sql.fetch("SELECT type, status, attempts FROM control_plane.jobs WHERE type <> 'known'")
    assert {row["type"] for row in rows} == set(IMPORTABLE)
    assert {(row["status"], row["attempts"]) for row in rows} == {("pending", 0)}


def test_a_registry_knows_only_what_was_added() -> None:
    for name in (*IMPORTABLE, "__class__", "get", "_tasks"):
        assert Registry().get(name) is None
        assert name not in Registry()
    with pytest.raises(TaskDefinitionError):
        TaskSpec(print, "print", TaskSettings())


# -- limits, before anything is written ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        ({"a": "x" * MAX_PAYLOAD_BYTES}, f"must be at most {MAX_PAYLOAD_BYTES} bytes"),
        ({"a": json.loads("[" * 64 + "]" * 64)}, "must nest at most 64 levels"),
        ({"a": float("nan")}, "must be a finite number"),
        ([1], "must be a JSON object"),
        ("{}", "must be a JSON object"),
        (b"{}", "must be a JSON object"),
        ({1: 2}, "must be a JSON object"),
        ({"a": "\0"}, "must not hold NUL"),
        ({"a": "\ud800"}, "must be valid Unicode"),
        ({"a": object()}, "must hold JSON values only"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "",
)
async def test_what_breaks_a_limit_is_refused_by_both_clients_and_nothing_is_written(
    queue: JobQueue, sql: SQL, payload: object, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says) as caught:
        await queue.enqueue("work", payload)  # type: ignore[arg-type]
    with queue.sync as client, pytest.raises(InvalidInputError, match=says):
        client.enqueue("work", payload)  # type: ignore[arg-type]

    assert caught.value.field.partition(".")[0] == "payload"
    assert await count_jobs(sql) == 0


@pytest.mark.parametrize(
    "value",
    ["s3cret-canary", ["s3cret-canary"], {1: "s3cret-canary"}, {"a": ["s3cret-canary", object()]}, {"a": "s3cret-canary\0"},
     {"a": "s3cret-canary\ud800"}, {"a": "s3cret-canary" * 100_000}],
)  # fmt: skip
async def test_no_refusal_quotes_the_payload(queue: JobQueue, value: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        await queue.enqueue("work", value)  # type: ignore[arg-type]

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(vars(caught.value))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"a": 1, "a": "s3cret"}', "the key 'a' stands twice in one object"),
        ('{"b": {"a\\u001b": 1, "a\\u001b": "s3cret"}}', "stands twice in one object"),
        ('{"a": NaN}', "NaN is not a finite number"),
        ('{"a": [1, -Infinity, "s3cret"]}', "-Infinity is not a finite number"),
        ('{"a": "s3cret"', "must be a JSON object"),
        ('["s3cret"]', "must be a JSON object, in braces"),
        ('"s3cret"', "must be a JSON object, in braces"),
        ("", "must be a JSON object"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", "must nest at most 64 levels"),
        ('{"a": ' + "[" * 100_000, "must nest at most 64 levels"),
        ('{"a": "' + "s3cret" * 200_000 + '"}', f"must be at most {MAX_PAYLOAD_BYTES} bytes"),
        ('{"a": 1e400}', "must be a finite number"),
        ('{"a": "\\u0000"}', "must not hold NUL"),
        ('{"a": "\\ud800"}', "must be valid Unicode"),
    ],
    ids=range(14),
)
async def test_json_text_on_the_command_line_is_refused_with_the_field_and_without_its_values(
    cli: CommandLine, sql: SQL, text: str, says: str
) -> None:
    ended = await cli.run("enqueue", "work", "-", stdin=text)

    assert ended.code == ExitCode.USAGE
    assert "payload" in ended.err.lower()
    assert says in ended.err
    assert "s3cret" not in ended.err
    assert len(ended.err.splitlines()) == 1
    assert await count_jobs(sql) == 0


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("jsonb_build_object('a', repeat('x', 1048577))", "payload must be at most 1048576 bytes"),
        ("'[]'::jsonb", "payload must be a JSON object; got array"),
        ("'7'::jsonb", "payload must be a JSON object; got number"),
        ("'null'::jsonb", "payload must be a JSON object; got null"),
        ("NULL", "payload must be a JSON object; got NULL"),
    ],
)
async def test_the_sql_function_refuses_with_the_field_and_without_its_values(
    sql: SQL, expression: str, says: str
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=says):
        await sql.fetchval(f"SELECT control_plane.enqueue_job('work', {expression})")

    assert await count_jobs(sql) == 0


# -- past the limits, by a plain INSERT ------------------------------------------------------------------------

FOREIGN: Final = {
    "5 MB": "jsonb_build_object('text', repeat('x', 5000000))",
    "5 MB of keys": "(SELECT jsonb_object_agg('key ' || n, n) FROM generate_series(1, 200000) AS n)",
    "depth 200": "('{\"text\": ' || repeat('[', 200) || repeat(']', 200) || '}')::jsonb",
    "depth 64": "('{\"text\": \"x\", \"other\": ' || repeat('[', 63) || repeat(']', 63) || '}')::jsonb",
    "depth 65": "('{\"text\": \"x\", \"other\": ' || repeat('[', 64) || repeat(']', 64) || '}')::jsonb",
    "depth 980": "('{\"text\": [1e5000,' || repeat('[', 980) || repeat(']', 980) || ']}')::jsonb",
    "depth 5000": "('{\"text\": ' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb",
    "unknown depth": "('{\"text\": \"x\", \"other\": ' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb",
    "array": "'[1, 2]'::jsonb",
    "string": "'\"text\"'::jsonb",
    "number": "'7'::jsonb",
    "null": "'null'::jsonb",
    "wrong kind": '\'{"text": {"a": 1}}\'::jsonb',
    "missing": "'{}'::jsonb",
    "huge number": '\'{"text": "x", "n": 1e100000}\'::jsonb',
    "huge priority": '\'{"text": "x", "priority": 1e100000}\'::jsonb',
    "odd priority": '\'{"text": "x", "priority": ["7"]}\'::jsonb',
}
READABLE: Final = frozenset({"5 MB", "depth 64", "huge number", "huge priority", "odd priority"})
"""What the handler can be called with all the same."""


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_foreign_payload_past_the_limits_ends_its_job_in_order_and_the_worker_goes_on(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, kind: str
) -> None:
    @queue.task
    async def work(ctx: JobContext, text: str) -> int:
        return len(text) + 0 * len(repr(ctx.job))

    foreign = await sql.fetchval(
        f"INSERT INTO control_plane.jobs (type, max_attempts, payload) VALUES ('work', 1, {FOREIGN[kind]}) RETURNING id"
    )
    neighbour = await work.enqueue("fine")
    worker = make_worker(queue, queues="default:1")
    failures = Recorder(worker.events, ServiceFailed)

    async with worker:
        ended = await queue.wait(UUID(int=foreign.int), 20)
        good = await queue.wait(neighbour.id, 20)

    assert ended.status is (JobStatus.COMPLETED if kind in READABLE else JobStatus.FAILED), ended.last_error
    if kind not in READABLE:
        assert (ended.last_error or "").startswith("InvalidArgumentsError: arguments must fit ")
        assert len(ended.last_error or "") < 500
    assert (good.status, good.result) == (JobStatus.COMPLETED, 4)
    assert failures.seen == []
    assert foreign in {job.id for job in (await queue.list_jobs()).jobs}, "lists stay readable"


ODD_COLUMNS: Final = [
    ("scheduled_at", "'-infinity'"),
    ("scheduled_at", "'4713-01-01 BC'"),
    ("created_at", "'-infinity'"),
    ("created_at", "'infinity'"),
    ("created_at", "'294276-12-31'"),
    ("completed_at", "'294276-12-31'"),
    ("started_at", "'-infinity'"),
    ("cancel_requested_at", "'infinity'"),
    ("lease_expires_at", "'-infinity'"),
    ("tags", "ARRAY[['a', 'b'], ['c', 'd']]"),
    ("tags", "ARRAY['a', NULL]"),
    ("priority", "-32768"),
    ("lease_epoch", "9223372036854775806"),
    ("retry_policy", "'[1]'"),
    ("retry_policy", "('{\"x\": ' || repeat('[', 5000) || repeat(']', 5000) || '}')::jsonb"),
    ("progress", "'1e100000'"),
    ("result", "'[1e100000]'"),
    ("unique_key", "E'a\\nb\\x1b[31m'"),
    ("last_error", "repeat(E'\\x1b[2J\\n', 100000)"),
    ("worker_id", "repeat('w', 100000)"),
]


@pytest.mark.parametrize(("column", "value"), ODD_COLUMNS)
async def test_a_foreign_row_costs_no_other_job_an_attempt_and_stays_readable(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, cli: CommandLine, column: str, value: str
) -> None:
    """-infinity is what some write for "now", and one such row used to make the answer of the whole claim unreadable."""

    @queue.task
    async def work(ctx: JobContext) -> int:
        return len(repr(ctx.job)) and len(ctx.job.tags)

    foreign = await sql.fetchval(
        f"INSERT INTO control_plane.jobs (type, max_attempts, {column}) VALUES ('work', 1, {value}) RETURNING id"
    )
    neighbours = [await work.enqueue() for _ in range(5)]
    before = await queue.get_job(UUID(int=foreign.int))
    worker = make_worker(queue)
    failures = Recorder(worker.events, ServiceFailed)

    async with worker:
        ended = await queue.wait(UUID(int=foreign.int), 10)
        for one in neighbours:
            await queue.wait(one.id, 10)

    assert before is not None
    assert ended.status is JobStatus.COMPLETED
    assert all(
        when is None or when.tzinfo is not None
        for when in (ended.scheduled_at, ended.created_at, before.completed_at)
    )
    assert all(isinstance(tag, str) for tag in ended.tags)
    assert {(await row_of(sql, one.id))["attempts"] for one in neighbours} == {1}
    assert failures.seen == []
    for arguments in (
        ["jobs", "list"],
        ["jobs", "list", "--json"],
        ["jobs", "show", str(foreign), "--payload"],
    ):
        shown = await cli.run(*arguments)
        assert shown.code == 0, ascii(shown)
        assert "\x1b" not in shown.out
    document = (await cli.run("jobs", "show", str(foreign), "--payload", "--json")).out
    json.loads(document, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


async def test_infinitely_late_jobs_wait_and_show(queue: JobQueue, sql: SQL, cli: CommandLine) -> None:
    await sql.execute("INSERT INTO control_plane.jobs (type, scheduled_at) VALUES ('work', 'infinity')")
    await sql.execute("INSERT INTO control_plane.jobs (type, scheduled_at) VALUES ('work', '-infinity')")

    assert {job.scheduled_at.year for job in (await queue.list_jobs()).jobs} == {1, 9999}
    assert [found.jobs for found in await queue.list_unclaimable()] == [1]
    assert [(found.due, found.later) for found in await queue.list_queues()] == [(1, 1)]
    for command in ("jobs list", "queues list"):
        assert (await cli.run(*command.split())).code == 0


async def test_a_claim_of_many_jobs_survives_every_odd_row_at_once(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    @queue.task
    async def work() -> None: ...

    for column, value in ODD_COLUMNS:
        await sql.execute(f"INSERT INTO control_plane.jobs (type, {column}) VALUES ('work', {value})")
    for _ in range(50):
        await work.enqueue()

    async with make_worker(queue, queues="default:100"):

        async def all_done() -> bool:
            return bool(
                await sql.fetchval(
                    "SELECT count(*) = $1 FROM control_plane.jobs WHERE status = 'completed'",
                    50 + len(ODD_COLUMNS),
                )
            )

        await until(all_done)

    assert await sql.fetchval("SELECT max(attempts) FROM control_plane.jobs") == 1
