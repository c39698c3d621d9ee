"""S9: the functions that the schema brings use nobody else's objects, whatever stands in the caller's search path.

The catalogue says that each has its search path fixed and runs with the caller's rights; the attack makes functions,
operators and tables of the same names, with argument types that fit better, and then calls everything: none is used. The
statements of clients and workers, which have no search path of their own, are put through the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import asyncpg
import pytest

from jobplane import JobContext, JobQueue, JobStatus, Retry, Snooze, Worker
from jobplane.store.migrator import migrations
from tests.factories import SQL, make_job
from tests.support import until

FUNCTIONS: Final = """
    SELECT oid::regprocedure::text AS name, prosecdef AS definer, proconfig AS settings, prosrc AS body,
        has_function_privilege('public', oid, 'EXECUTE') AS for_everyone
    FROM pg_proc WHERE pronamespace = 'control_plane'::regnamespace ORDER BY 1
"""
DEFINERS: Final[dict[str, str]] = {
    "control_plane.keep_epochs()": "who may delete jobs need not be allowed to change the epochs that are used up",
}
"""Functions that run with their owner's rights, and why each must. An entry that is not there any more fails the test."""
FIXED: Final = re.compile(
    r"search_path=(pg_catalog|\"\"), ?pg_temp|search_path=pg_catalog, ?control_plane, ?pg_temp"
)
TABLES: Final = ("jobs", "job_attempts", "queues", "workers", "duties", "epochs", "jobplane_migrations")

DECOYS: Final = {
    # name and arguments: what it returns. Those that take exactly what our statements hand over are the dangerous
    # ones: PostgreSQL prefers an exact match to pg_catalog's anyarray or "any", wherever in the path it stands.
    "now()": "timestamptz",
    "clock_timestamp()": "timestamptz",
    "gen_random_uuid()": "uuid",
    "new_job_id()": "uuid",
    "lower(text)": "text",
    "lower(varchar)": "text",
    "length(text)": "integer",
    "left(text, integer)": "text",
    "octet_length(text)": "integer",
    "quote_nullable(text)": "text",
    "quote_literal(text)": "text",
    "isfinite(timestamptz)": "boolean",
    "jsonb_typeof(jsonb)": "text",
    "jsonb_build_object(text, integer)": "jsonb",
    "jsonb_build_object(unknown, integer)": "jsonb",
    "jsonb_array_elements_text(jsonb)": "text",
    "make_interval(double precision)": "interval",
    "pg_notify(text, text)": "void",
    "set_config(text, text, boolean)": "text",
    "unnest(uuid[])": "uuid",
    "unnest(text[])": "text",
    "unnest(bigint[])": "bigint",
    "unnest(integer[])": "integer",
    "unnest(jsonb[])": "jsonb",
    "encode(bytea, text)": "text",
    "set_bit(bytea, integer, integer)": "bytea",
    "set_bit(bytea, bigint, integer)": "bytea",
    "uuid_send(uuid)": "bytea",
    "int8send(bigint)": "bytea",
    "date_part(text, timestamptz)": "double precision",
    "extract(text, timestamptz)": "numeric",
    "to_regclass(text)": "regclass",
    "pg_try_advisory_lock(bigint)": "boolean",
    "pg_is_in_recovery()": "boolean",
}
OPERATORS: Final = (
    ("=", "text", "text"), ("<>", "text", "text"), ("~", "text", "text"), ("!~", "text", "text"), (">", "integer", "integer"),
    ("=", "uuid", "uuid"), ("=", "bigint", "bigint"), ("->", "jsonb", "text"), ("->>", "jsonb", "text"), ("?", "jsonb", "text"),
    ("||", "jsonb", "jsonb"), ("||", "text", "text"), ("+", "timestamptz", "interval"), ("<", "timestamptz", "timestamptz"),
    ("<=", "timestamptz", "timestamptz"), ("=", "smallint", "smallint"), (">=", "smallint", "integer"), ("@>", "text[]", "text[]"),
    ("-", "integer", "integer"), (">=", "interval", "interval"), ("=", "varchar", "text"), ("~", "varchar", "text"),
)  # fmt: skip


async def _set_traps(sql: SQL, schema: str) -> None:
    """Everything that might be taken for PostgreSQL's own or ours, in a schema of the attacker's."""
    await sql.execute("CREATE TABLE IF NOT EXISTS public.caught (what text)")
    await sql.execute("GRANT ALL ON public.caught TO public")
    for signature, returns in DECOYS.items():
        if schema == "pg_temp" and returns == "void":
            continue
        arguments = signature.replace("unknown", "text")
        await sql.execute(
            f"CREATE OR REPLACE FUNCTION {schema}.{arguments} RETURNS {returns} LANGUAGE plpgsql AS $trap$ BEGIN "
            f"INSERT INTO public.caught VALUES ('{schema}.{signature}'); "
            f"{'RETURN;' if returns == 'void' else 'RETURN NULL;'} END $trap$"
        )
    if schema != "pg_temp":
        for number, (name, left, right) in enumerate(OPERATORS):
            await sql.execute(
                f"CREATE FUNCTION {schema}.operator_{number}({left}, {right}) RETURNS boolean LANGUAGE plpgsql AS $trap$ BEGIN "
                f"INSERT INTO public.caught VALUES ('{schema}.{left} {name} {right}'); RETURN true; END $trap$"
            )
            await sql.execute(
                f"CREATE OPERATOR {schema}.{name} (LEFTARG = {left}, RIGHTARG = {right}, FUNCTION = {schema}.operator_{number})"
            )
    for table in TABLES:
        await sql.execute(f"CREATE TABLE {schema}.{table} (LIKE control_plane.{table})")


async def _caught(sql: SQL) -> set[str]:
    return {row[0] for row in await sql.fetch("SELECT what FROM public.caught")}


async def test_every_function_has_its_search_path_fixed_and_runs_with_the_rights_of_its_caller(
    sql: SQL,
) -> None:
    found = await sql.fetch(FUNCTIONS)

    assert len(found) >= 3
    for row in found:
        assert any(FIXED.fullmatch(setting) for setting in row["settings"] or ()), row["name"]
    definers = {row["name"] for row in found if row["definer"]}
    assert definers == set(DEFINERS), "each needs its reason in DEFINERS"
    assert not [row["name"] for row in found if row["definer"] and row["for_everyone"]]


async def test_functions_name_tables_by_their_schema(sql: SQL) -> None:
    for row in await sql.fetch(FUNCTIONS):
        bare = re.findall(r"\b(?:FROM|JOIN|INTO|UPDATE)\s+((?:[a-z_]+\.)?[a-z_]+)", row["body"])
        tables = {name for name in bare if name.rpartition(".")[2] in TABLES}
        assert all(name.startswith(("control_plane.", '"control_plane".')) for name in tables), row["name"]


def test_no_migration_makes_a_function_without_a_search_path() -> None:
    for migration in migrations():
        made = re.findall(r"CREATE (?:OR REPLACE )?FUNCTION.*?AS \$", migration.up, re.DOTALL)
        assert all("SET search_path = " in head for head in made), migration.name


@pytest.mark.parametrize(
    "path", ["public, control_plane, pg_catalog", "public, pg_temp, pg_catalog", "evil, public, pg_catalog"]
)
async def test_what_stands_first_in_the_callers_path_is_not_used_by_any_function(sql: SQL, path: str) -> None:
    """The worst case: a path that puts the attacker's schema in front even of pg_catalog."""
    await sql.execute("CREATE SCHEMA evil")
    for schema in ("public", "evil", "pg_temp"):
        await _set_traps(sql, schema)
    await sql.execute(f"SET search_path = {path}")

    by_function = await sql.fetchval(
        """SELECT control_plane.enqueue_job('work', '{"a": 1}', delay => '1 minute', priority => 7, unique_key => 'k')"""
    )
    again = await sql.fetchval("SELECT control_plane.enqueue_job('work', unique_key => 'k')")
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await sql.fetchval("SELECT control_plane.enqueue_job('a b')")
    with pytest.raises(asyncpg.InvalidParameterValueError):
        await sql.fetchval("SELECT control_plane.enqueue_job('work', max_attempts => 0)")
    await sql.fetchval("SELECT control_plane.new_job_id()")
    # The trigger, and the default of id.
    await sql.execute("""INSERT INTO control_plane.jobs (type, payload) VALUES ('work', '{"priority": 5}')""")
    await sql.execute("SET search_path = pg_catalog")

    assert by_function == again
    assert await _caught(sql) == set()
    rows = await sql.fetch("SELECT priority FROM control_plane.jobs ORDER BY priority")
    assert [row["priority"] for row in rows] == [5, 7]


async def test_the_traps_work(sql: SQL) -> None:
    await _set_traps(sql, "public")
    await sql.execute("SET search_path = public, pg_catalog")

    await sql.fetch("SELECT now(), lower('A'), 'a'::text = 'b'::text")

    assert {"public.now()", "public.lower(text)", "public.text = text"} <= await _caught(sql)


async def test_what_lies_in_public_is_not_used_by_clients_and_workers_either(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL
) -> None:
    """Their sessions have the usual path, in which pg_catalog comes first, and a better match would still win."""
    await _set_traps(sql, "public")

    @queue.task(max_attempts=2)
    async def work(ctx: JobContext, what: str = "") -> object:
        ctx.progress(0.5)
        match ctx.attempt, what:
            case 1, "retry":
                return Retry(0.01)  # type: ignore[arg-type]
            case 1, "snooze" if ctx.epoch == 1:
                return Snooze(0.01)  # type: ignore[arg-type]
            case _, "fail":
                raise ValueError
            case _:
                return what

    old = await make_job(sql, JobStatus.COMPLETED)
    await sql.execute(
        "UPDATE control_plane.jobs SET scheduled_at = '2020-01-01', completed_at = '2020-01-01' WHERE id = $1",
        old,
    )
    await make_job(sql, JobStatus.RUNNING, type="other", attempts=3)
    await sql.execute("UPDATE control_plane.jobs SET lease_expires_at = '2020-01-01' WHERE type = 'other'")
    made = [await work.enqueue(what) for what in ("", "retry", "snooze", "fail")]
    made.append(await work.with_options(unique_key="k", tags=["t"]).enqueue())
    assert (await work.with_options(unique_key="k").enqueue()).existing
    await queue.enqueue_many([work.new() for _ in range(3)])
    with queue.sync as client:
        client.enqueue("work", {"what": ""})
        client.enqueue_many([work.new()])
    await queue.pause_queue("default")
    await queue.resume_queue("default")

    async with make_worker(queue):
        jobs = [await queue.wait(one.id, 15) for one in made]
        await queue.retry(jobs[0].id, extra_attempts=1)
        await queue.wait(jobs[0].id, 15)
        await queue.list_jobs(tag="t", status="completed", type="work", queue="default")
        await queue.list_queues()
        await queue.list_workers()
        await queue.list_unclaimable()
        await queue.list_attempts(jobs[1].id)
        waiting = await queue.enqueue("work", delay=60)
        await queue.cancel(waiting.id)
        await until(lambda: _is_gone(sql, old))

    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 3 + [JobStatus.FAILED, JobStatus.COMPLETED]
    assert await _caught(sql) == set()


async def _is_gone(sql: SQL, job_id: object) -> bool:
    return not await sql.fetchval("SELECT count(*) FROM control_plane.jobs WHERE id = $1", job_id)
