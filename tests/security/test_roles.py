"""S7: database roles may do what they are for, and nothing else; programs really work under them. S9: the functions
that run with their owner's rights cannot be tricked into running anybody else's objects.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from jobplane import JobQueue, JobStatus, SyncJobQueue, new_job
from jobplane.cli.checks import examine
from jobplane.client.info import CancelResult
from jobplane.errors import StatementError
from jobplane.sql import load
from jobplane.store import roles
from tests.factories import count_jobs, make_job
from tests.security.logins import Guarded, guarded_database
from tests.support import Journal, WorkerProcess, on_database, until

SQL: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Cell: TypeAlias = tuple[str, str, str]
"""What, on which table or function, and of a table which column."""
ALL: Final = "*"

DECLARED: Final[Mapping[str, Mapping[str, Mapping[str, str]]]] = {
    # role: table or function: action: columns
    "nobody": {},
    "enqueue": {"enqueue_job": {"execute": ""}},
    "worker": {
        "jobs": {
            "select": ALL,
            "update": "status attempts scheduled_at started_at completed_at last_error lease_epoch lease_expires_at "
            "worker_id result progress isolated_epoch",
        },
        "epochs": {"select": ALL},
        "job_attempts": {
            "select": ALL,
            "insert": "job_id epoch attempt outcome error_type message frames worker_id started_at ended_at",
        },
        "job_events": {"select": ALL},
        "queues": {"select": ALL, "update": "created_at"},
        "schedules": {"select": ALL},
        "schedule_ticks": {"select": ALL},
        "workers": {"select": ALL, "insert": ALL, "update": ALL, "delete": ""},
        "duties": {"select": ALL, "update": "due_at last_run_at last_worker_id"},
        "jobplane_migrations": {"select": ALL},
        "make_ticks": {"execute": ""},
        "prune_jobs": {"execute": ""},
        "prune_events": {"execute": ""},
        "prune_ticks": {"execute": ""},
    },
    "api": {
        "jobs": {
            "select": ALL,
            "insert": "id type payload queue priority max_attempts scheduled_at unique_key tags retry_policy tenant",
        },
        "job_overview": {"select": ALL},
        "job_attempts": {"select": ALL},
        "job_events": {"select": ALL},
        "queues": {"select": ALL, "insert": "name paused_at max_running", "update": "paused_at max_running"},
        "workers": {"select": ALL},
        "schedules": {
            "select": ALL,
            "insert": "name cron timezone type payload queue priority max_attempts unique_key tags retry_policy missed "
            "missed_cap last_tick look_at created_at",
            "update": "cron timezone type payload queue priority max_attempts unique_key tags retry_policy missed "
            "missed_cap paused_at revision last_tick look_at",
            "delete": "",
        },
        "schedule_ticks": {"select": ALL},
        "duties": {"select": ALL},
        "jobplane_migrations": {"select": ALL},
        "new_job_id": {"execute": ""},
        "cancel_job": {"execute": ""},
        "retry_job": {"execute": ""},
    },
    "viewer": {
        "jobs": {
            "select": "id type status attempts max_attempts last_error scheduled_at started_at completed_at created_at "
            "queue priority lease_epoch lease_expires_at worker_id unique_key tags cancel_requested_at retry_policy tenant "
            "isolated_epoch attempts_at_retry"
        },
        "job_overview": {"select": ALL},
        "job_attempts": {"select": ALL},
        "job_events": {"select": ALL},
        "queues": {"select": ALL},
        "workers": {"select": ALL},
        "schedules": {
            "select": "name cron timezone type queue priority max_attempts unique_key tags retry_policy missed missed_cap "
            "paused_at revision last_tick look_at created_at"
        },
        "schedule_ticks": {"select": ALL},
        "duties": {"select": ALL},
        "jobplane_migrations": {"select": ALL},
    },
}
WITHHELD: Final = {"payload", "result", "progress"}
"""Of jobs, from the viewer."""


@pytest.fixture(scope="module")
def shared(server_url: str, template: str) -> Iterator[Guarded]:
    """A database for tests that change nothing."""
    with guarded_database(server_url, template) as guarded:
        yield guarded


@pytest.fixture
def guarded(server_url: str, template: str) -> Iterator[Guarded]:
    """A database of the test's own."""
    with guarded_database(server_url, template) as made:
        yield made


# -- the table -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", DECLARED)
async def test_a_role_may_do_exactly_what_is_declared(shared: Guarded, role: str) -> None:
    """Each cell is tried: role x (select, insert and update of each column, delete, truncate, alter, execute)."""
    admin = await asyncpg.connect(shared.url)
    cells = await _cells(admin)
    await admin.close()
    declared = {
        (action, name, column)
        for name, actions in DECLARED[role].items()
        for action, columns in actions.items()
        for column in (
            [cell[2] for cell in cells if cell[:2] == (action, name)]
            if columns == ALL
            else columns.split(" ")
        )
    }

    login = await asyncpg.connect(shared.url_of(role))
    allowed = {cell for cell, statement in cells.items() if await _is_allowed(login, statement)}
    await login.close()

    assert len(cells) > 250
    assert declared <= cells.keys()
    assert allowed == declared


async def test_the_migrator_may_do_everything(shared: Guarded) -> None:
    admin = await asyncpg.connect(shared.url)
    cells = await _cells(admin)
    await admin.close()

    login = await asyncpg.connect(shared.url_of("migrator"))
    refused = [cell for cell, statement in cells.items() if not await _is_allowed(login, statement)]
    await login.close()

    assert refused == []


async def test_every_table_and_function_belongs_to_the_owner_and_nothing_is_public(shared: Guarded) -> None:
    """A migration that adds a table must name it in jobplane.store.roles, and its grants in sql/roles."""
    sql = await asyncpg.connect(shared.url)
    owned = await sql.fetch(
        "SELECT relname AS name, pg_get_userbyid(relowner) AS owner, relacl::text AS acl FROM pg_class "
        "WHERE relnamespace = 'control_plane'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S') "
        "UNION ALL SELECT proname, pg_get_userbyid(proowner), COALESCE(proacl::text, '{=X/}') FROM pg_proc "
        "WHERE pronamespace = 'control_plane'::regnamespace "
        "UNION ALL SELECT nspname, pg_get_userbyid(nspowner), nspacl::text FROM pg_namespace "
        "WHERE nspname = 'control_plane'"
    )
    await sql.close()

    assert {row["name"] for row in owned} >= {"jobs", "enqueue_job", "control_plane"}
    assert [row["name"] for row in owned if row["owner"] != shared.role("owner")] == []
    # An entry without a name before its "=" is PUBLIC's.
    assert [row["name"] for row in owned if row["acl"].startswith("{=") or ",=" in row["acl"]] == []


async def test_each_column_of_a_job_is_shown_to_the_viewer_or_withheld_by_name(shared: Guarded) -> None:
    sql = await asyncpg.connect(shared.url)
    columns = {
        row["attname"]
        for row in await sql.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'control_plane.jobs'::regclass "
            "AND attnum > 0 AND NOT attisdropped"
        )
    }
    await sql.close()

    assert set(DECLARED["viewer"]["jobs"]["select"].split()) == columns - WITHHELD


async def test_what_the_owner_makes_later_is_not_public(guarded: Guarded) -> None:
    login = await asyncpg.connect(guarded.url_of("migrator"))
    await login.execute(
        f"SET ROLE {guarded.role('owner')}; CREATE FUNCTION control_plane.later() RETURNS int LANGUAGE sql AS 'SELECT 1'; "
        "CREATE TABLE control_plane.later (id int)"
    )
    await login.close()

    nobody = await asyncpg.connect(guarded.url_of("worker"))
    for statement in ("SELECT control_plane.later()", "SELECT * FROM control_plane.later"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await nobody.fetch(statement)
    await nobody.close()


# -- setting up ----------------------------------------------------------------------------------------------


async def test_applying_twice_changes_nothing(guarded: Guarded) -> None:
    before = await _catalog(guarded)

    await roles.apply(guarded.admin, guarded.prefix)

    assert await _catalog(guarded) == before


async def test_the_printed_sql_does_what_applying_does(
    guarded: Guarded, server_url: str, template: str
) -> None:
    printed = (await _jobplane("roles", "sql", "--prefix", guarded.prefix, url="")).stdout
    name = f"{guarded.prefix}other"
    admin = await asyncpg.connect(server_url)
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    other = Guarded(on_database(server_url, name), guarded.prefix)

    by_hand = await asyncpg.connect(other.url)
    await by_hand.execute(printed)
    await by_hand.close()

    try:
        assert await _catalog(other) == await _catalog(guarded)
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def test_rights_that_someone_gave_away_are_taken_back(guarded: Guarded) -> None:
    before = await _catalog(guarded)
    sql = await asyncpg.connect(guarded.url)
    await sql.execute(
        f"GRANT ALL ON ALL TABLES IN SCHEMA control_plane TO PUBLIC, {guarded.role('viewer')}; "
        f"GRANT UPDATE (payload) ON control_plane.jobs TO {guarded.role('worker')}; "
        "GRANT ALL ON ALL FUNCTIONS IN SCHEMA control_plane TO PUBLIC; GRANT ALL ON SCHEMA control_plane TO PUBLIC"
    )
    assert await _catalog(guarded) != before

    await roles.apply(guarded.admin, guarded.prefix)

    assert await _catalog(guarded) == before
    await sql.close()


async def test_a_role_that_can_log_in_is_not_taken_for_ours(
    server_url: str, database_url: str, guarded: Guarded
) -> None:
    admin = await asyncpg.connect(server_url)
    prefix = f"{guarded.prefix}x_"
    await admin.execute(f"CREATE ROLE {prefix}worker LOGIN")

    with pytest.raises(StatementError, match=r"choose another --prefix"):
        await roles.apply(Guarded(database_url, prefix).admin, prefix)

    assert await admin.fetchval("SELECT count(*) FROM pg_roles WHERE starts_with(rolname, $1)", prefix) == 1
    await admin.close()


async def test_a_plain_owner_with_createrole_sets_up_roles_and_goes_on_working(
    server_url: str, guarded: Guarded
) -> None:
    """As on a managed server, where nobody is a superuser; also the programs that run as that owner go on."""
    admin = await asyncpg.connect(server_url)
    prefix, name = f"{guarded.prefix}y_", f"{guarded.prefix}plain"
    await admin.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'x'")
    await admin.execute(f"CREATE DATABASE {name} OWNER {name}")
    host = server_url.rpartition("@")[2].partition("/")[0]
    plain = Guarded(f"postgresql://{name}:x@{host}/{name}", prefix)
    try:
        done = await _jobplane("migrate", "up", url=plain.url)
        assert done.returncode == 0, done.stderr
        for _ in range(2):
            await roles.apply(plain.admin, prefix)

        async with JobQueue(plain.url) as queue:
            assert (await queue.enqueue("work")).status is JobStatus.PENDING
        assert all(role.exists and not role.lacks for role in await roles.status(plain.admin, prefix))
        assert name in (await roles.status(plain.admin, prefix))[0].members
    finally:
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()


async def test_the_migrator_migrates_and_what_it_makes_is_the_owners(guarded: Guarded) -> None:
    url = guarded.url_of("migrator")

    down = await _jobplane("migrate", "down", "--to", "9", "--yes", url=url)
    up = await _jobplane("migrate", "up", url=url)
    again = await _jobplane("roles", "apply", "--prefix", guarded.prefix, url=url)
    shown = await _jobplane("roles", "show", "--prefix", guarded.prefix, url=url)

    assert [done.returncode for done in (down, up, again, shown)] == [0, 0, 0, 0], (down, up, again, shown)
    sql = await asyncpg.connect(guarded.url)
    owners = await sql.fetch(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class "
        "WHERE relnamespace = 'control_plane'::regnamespace AND relkind IN ('r', 'v')"
    )
    await sql.close()
    assert [row[0] for row in owners] == [guarded.role("owner")]


# -- working under the roles ---------------------------------------------------------------------------------


async def test_sql_enqueues_with_nothing_but_the_right_to_execute(guarded: Guarded) -> None:
    login = await asyncpg.connect(guarded.url_of("enqueue"))
    enqueue = "SELECT control_plane.enqueue_job('work', '{\"n\": 1}', unique_key => 'k')"

    first, second = await login.fetchval(enqueue), await login.fetchval(enqueue)

    assert first == second
    with pytest.raises(asyncpg.InvalidParameterValueError, match="type must be"):
        await login.fetchval("SELECT control_plane.enqueue_job('no such; type')")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await login.fetchval("SELECT count(*) FROM control_plane.jobs")
    await login.close()
    async with JobQueue(guarded.url) as queue:
        job = await queue.get_job(first)
    assert job is not None
    assert (job.type, job.payload, job.unique_key) == ("work", {"n": 1}, "k")


async def test_a_client_does_all_it_does_as_api(guarded: Guarded) -> None:
    async with JobQueue(settings=guarded.settings("api")) as queue:
        sql = await asyncpg.connect(guarded.url)
        await sql.execute(load("history/on").numbered)
        made = await queue.enqueue("work", {"n": 1}, unique_key="k", tags=["t"], priority=3)
        assert (await queue.enqueue("work", unique_key="k")).existing
        await queue.schedule("work", datetime.now(UTC) + timedelta(hours=1))
        assert await queue.enqueue_many(new_job("work", {}) for _ in range(3)) == 3
        await asyncio.gather(*(queue.enqueue("work", {"n": n}) for n in range(20)))
        assert await queue.cancel(made.id) is CancelResult.CANCELLED
        await queue.retry(made.id)
        assert (await queue.get_job(made.id)) is not None
        assert len((await queue.list_jobs(tag="t")).jobs) == 1
        assert await queue.list_attempts(made.id) == []
        assert sum((await queue.count_jobs()).values()) == 25
        await queue.pause_queue("default")
        await queue.resume_queue("default")
        assert len(await queue.list_queues()) == 1
        assert await queue.list_workers() == []
        assert len(await queue.list_unclaimable()) == 1
    assert await sql.fetchval("SELECT count(*) FROM control_plane.job_events WHERE job_id = $1", made.id) == 3
    await sql.close()


def test_a_synchronous_client_works_as_api(guarded: Guarded) -> None:
    with SyncJobQueue(settings=guarded.settings("api")) as queue:
        made = queue.enqueue("work")
        assert queue.enqueue_many([new_job("work", {})]) == 1
        queue.cancel(made.id)
        queue.retry(made.id)
        assert queue.get_job(made.id) is not None


async def test_a_real_worker_does_all_it_does_as_worker(guarded: Guarded, journal: Journal) -> None:
    """Completes, fails, cancels, rescues, prunes, keeps to a limit, makes ticks, and leaves; with a history being kept."""
    sql = await asyncpg.connect(guarded.url)
    await sql.execute(load("history/on").numbered)
    old = await make_job(
        sql, JobStatus.COMPLETED, scheduled_at=timedelta(days=-9), completed_at=timedelta(days=-9)
    )
    lost = await make_job(
        sql, JobStatus.RUNNING, max_attempts=1, lease_expires_at=timedelta(seconds=-1), worker_id="dead"
    )
    workers = [_worker(guarded, journal)]
    try:
        async with JobQueue(settings=guarded.settings("api")) as queue:
            fine = await queue.enqueue("work")
            bad = await queue.enqueue("work", {"seconds": "many"}, max_attempts=1)
            endless = await queue.enqueue("work", {"seconds": 60})
            assert (await queue.wait(fine.id, 20)).status is JobStatus.COMPLETED
            assert (await queue.wait(bad.id, 20)).status is JobStatus.FAILED
            assert [attempt.outcome for attempt in await queue.list_attempts(bad.id)] == ["failed"]
            await until(lambda: _is_running(queue, endless.id))
            await queue.cancel(endless.id)
            assert (await queue.wait(endless.id, 20)).status is JobStatus.CANCELLED
            rescued = await queue.wait(lost, 20)
            assert (rescued.status, rescued.last_error) == (
                JobStatus.FAILED,
                "lease lost: worker dead stopped renewing it during attempt 1 of 1, the last one",
            )
            await until(lambda: _is_gone(queue, old))
            await queue.limit_queue("default", 3)
            await queue.create_schedule("pulse", "@every 1s", "work", tags=["pulse"])
            await until(lambda: _has_completed(queue, "pulse"))
            await queue.pause_schedule("pulse")
            await queue.resume_schedule("pulse")
            assert [schedule.name for schedule in await queue.list_schedules()] == ["pulse"]
            await queue.delete_schedule("pulse")
            assert len(await queue.list_workers()) == 1
            workers[0].process.terminate()
            assert await workers[0].exit_code() == 0
            assert await queue.list_workers() == []
        verbs = await sql.fetch("SELECT verb FROM control_plane.job_events WHERE job_id = $1", old)
        assert [row["verb"] for row in verbs][-1] == "prune"
    finally:
        for worker in workers:
            worker.end()
    await sql.close()
    assert "permission denied" not in workers[0].log.read_text()


async def test_pruning_deletes_nothing_but_what_is_over(guarded: Guarded) -> None:
    sql = await asyncpg.connect(guarded.url)
    for status in JobStatus:
        await make_job(
            sql, status, scheduled_at=timedelta(days=-9), completed_at=timedelta(days=-9), attempts=1
        )
    login = await asyncpg.connect(guarded.url_of("worker"))

    pruned = await login.fetch("SELECT control_plane.prune_jobs(0, 0, 0, 100)")

    assert len(pruned) == 3
    assert await count_jobs(sql) == 2
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await login.execute("DELETE FROM control_plane.jobs")
    await login.close()
    await sql.close()


async def test_a_viewer_reads_at_ease_and_not_what_jobs_carry(guarded: Guarded) -> None:
    sql = await asyncpg.connect(guarded.url)
    await make_job(sql, JobStatus.FAILED, payload={"secret": 1})
    await sql.close()
    login = await asyncpg.connect(guarded.url_of("viewer"))

    rows = await login.fetch("SELECT * FROM control_plane.job_overview")

    assert [(row["status"], row["state"], row["last_error"]) for row in rows] == [
        ("failed", "failed", "ValueError: no")
    ]
    assert not {"payload", "result", "progress"} & set(rows[0].keys())
    for statement in ("SELECT * FROM control_plane.jobs", "SELECT jobs FROM control_plane.jobs"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await login.fetch(statement)
    await login.close()


# -- what doctor says ----------------------------------------------------------------------------------------


async def test_doctor_names_the_right_that_is_missing(guarded: Guarded) -> None:
    fine = await _rights_of(guarded, "worker")
    sql = await asyncpg.connect(guarded.url)
    await sql.execute(
        f"REVOKE UPDATE (progress, result) ON control_plane.jobs FROM {guarded.role('worker')}; "
        f"REVOKE EXECUTE ON FUNCTION control_plane.prune_jobs FROM {guarded.role('worker')}"
    )
    await sql.close()

    ok, says, advice = await _rights_of(guarded, "worker")

    assert fine[:2] == (True, "this role may run jobs")
    assert ok is False
    assert "it lacks UPDATE (result, progress) on jobs; EXECUTE on prune_jobs" in says
    assert "jobplane roles apply" in advice
    assert (await _rights_of(guarded, "api"))[1] == "this role may do what clients do"
    assert (await _rights_of(guarded, "viewer"))[1] == "this role may look"


async def test_show_names_members_and_what_is_missing(guarded: Guarded) -> None:
    fine = await _jobplane("roles", "show", "--prefix", guarded.prefix, url=guarded.url)
    sql = await asyncpg.connect(guarded.url)
    await sql.execute(f"REVOKE SELECT ON control_plane.queues FROM {guarded.role('worker')}")
    await sql.close()

    broken = await _jobplane("roles", "show", "--prefix", guarded.prefix, url=guarded.url)

    assert fine.returncode == 0
    assert f"{guarded.prefix}api_login" in fine.stdout
    assert broken.returncode == 1
    assert "lacks SELECT on queues" in broken.stdout
    assert f"run jobplane roles apply --prefix {guarded.prefix}" in broken.stderr


# -- S9: functions with their owner's rights -----------------------------------------------------------------


async def test_functions_with_the_owners_rights_pin_where_they_look_names_up(shared: Guarded) -> None:
    sql = await asyncpg.connect(shared.url)
    functions = await sql.fetch(
        "SELECT proname, prosecdef, proconfig FROM pg_proc WHERE pronamespace = 'control_plane'::regnamespace"
    )
    await sql.close()

    assert {row["proname"] for row in functions if row["prosecdef"]} == {
        "cancel_job",
        "enqueue_job",
        "keep_epochs",
        "make_ticks",
        "prune_events",
        "prune_jobs",
        "prune_ticks",
        "record_job_event",
        "retry_job",
    }
    for row in functions:
        assert "search_path=pg_catalog, pg_temp" in row["proconfig"], row["proname"]


async def test_objects_of_a_caller_are_never_used_by_the_functions(guarded: Guarded) -> None:
    """A jobs table, now(), least() and an operator of the caller's own, in pg_temp and first in the search path."""
    login = await asyncpg.connect(guarded.url_of("enqueue"))
    await login.execute("""
        CREATE TEMP TABLE jobs (LIKE pg_class);
        CREATE TEMP TABLE stolen (who text);
        CREATE FUNCTION pg_temp.now() RETURNS timestamptz LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO pg_temp.stolen VALUES (current_user); RETURN clock_timestamp(); END $$;
        CREATE FUNCTION pg_temp.octet_length(text) RETURNS integer LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO pg_temp.stolen VALUES (current_user); RETURN 1; END $$;
        CREATE FUNCTION pg_temp.same(text, text) RETURNS boolean LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO pg_temp.stolen VALUES (current_user); RETURN true; END $$;
        CREATE OPERATOR pg_temp.!~ (LEFTARG = text, RIGHTARG = text, FUNCTION = pg_temp.same);
        SET search_path = pg_temp, pg_catalog
    """)

    made = await login.fetchval(
        "SELECT control_plane.enqueue_job('work', '{\"priority\": 7}', unique_key => 'k')"
    )

    assert made is not None
    assert await login.fetchval("SELECT count(*) FROM pg_temp.stolen") == 0
    assert await login.fetchval("SELECT count(*) FROM pg_temp.jobs") == 0
    await login.close()
    async with JobQueue(guarded.url) as queue:
        assert (await queue.count_jobs())[JobStatus.PENDING] == 1


# -- helpers -------------------------------------------------------------------------------------------------


async def _cells(sql: SQL) -> dict[Cell, str]:
    """Every action that can be tried on our tables and functions, with the statement that tries it."""
    cells: dict[Cell, str] = {}
    columns = await sql.fetch(
        "SELECT c.relname AS name, c.relkind = 'v' AS view, a.attname AS column FROM pg_class AS c "
        "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
        "WHERE c.relnamespace = 'control_plane'::regnamespace AND c.relkind IN ('r', 'v')"
    )
    for row in columns:
        name, column = row["name"], row["column"]
        table = f"control_plane.{name}"
        cells["select", name, column] = f"SELECT {column} FROM {table} LIMIT 0"
        if row["view"]:
            cells["alter", name, ""] = f"ALTER VIEW {table} RENAME TO other"
            continue
        cells["insert", name, column] = f"INSERT INTO {table} ({column}) VALUES (DEFAULT)"
        cells["update", name, column] = f"UPDATE {table} SET {column} = DEFAULT WHERE false"
        cells["delete", name, ""] = f"DELETE FROM {table} WHERE false"
        cells["truncate", name, ""] = f"TRUNCATE {table} CASCADE"
        cells["alter", name, ""] = f"ALTER TABLE {table} ADD COLUMN other int"
        cells["index", name, ""] = f"CREATE INDEX ON {table} ({column})"
        cells["drop", name, ""] = f"DROP TABLE {table} CASCADE"
        cells["reference", name, ""] = (
            f"DO $$ BEGIN IF NOT has_any_column_privilege('{table}', 'REFERENCES') THEN RAISE insufficient_privilege; "
            "END IF; END $$"
        )
        cells["trigger", name, ""] = (
            f"DO $$ BEGIN IF NOT has_table_privilege('{table}', 'TRIGGER') THEN RAISE insufficient_privilege; "
            "END IF; END $$"
        )
    functions = await sql.fetch(
        "SELECT proname AS name, pronargs AS args FROM pg_proc WHERE pronamespace = 'control_plane'::regnamespace"
    )
    for row in functions:
        nulls = ", ".join(["NULL"] * row["args"])
        cells["execute", row["name"], ""] = f"SELECT control_plane.{row['name']}({nulls})"
    cells["create", "control_plane", ""] = "CREATE TABLE control_plane.another (id int)"
    return cells


async def _is_allowed(sql: SQL, statement: str) -> bool:
    transaction = sql.transaction()
    await transaction.start()
    try:
        await sql.execute(statement)
    except asyncpg.InsufficientPrivilegeError:
        return False
    except asyncpg.PostgresError:
        return True  # refused for what it says, not for who says it
    else:
        return True
    finally:
        await transaction.rollback()


async def _catalog(guarded: Guarded) -> list[Sequence[object]]:
    """All that the scripts can change, in words."""
    sql = await asyncpg.connect(guarded.url)
    rows = await sql.fetch(
        """
        WITH ours AS (SELECT 'control_plane'::regnamespace::oid AS schema)
        SELECT 'table' AS kind, relname::text AS name, pg_get_userbyid(relowner)::text AS owner,
            (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(relacl) AS acl) AS acl, '' AS more
        FROM pg_class, ours WHERE relnamespace = schema AND relkind IN ('r', 'v')
        UNION ALL
        SELECT 'column', attrelid::regclass::text || '.' || attname, '',
            (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(attacl) AS acl), ''
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid, ours
        WHERE relnamespace = schema AND attacl IS NOT NULL AND attacl <> '{}'
        UNION ALL
        SELECT 'function', proname, pg_get_userbyid(proowner),
            (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(proacl) AS acl),
            prosecdef || array_to_string(proconfig, ';') || prosrc
        FROM pg_proc, ours WHERE pronamespace = schema
        UNION ALL
        SELECT 'schema', nspname, pg_get_userbyid(nspowner),
            (SELECT array_agg(acl::text ORDER BY acl::text) FROM unnest(nspacl) AS acl), ''
        FROM pg_namespace, ours WHERE oid = schema
        UNION ALL
        SELECT 'default', defaclobjtype::text, pg_get_userbyid(defaclrole), defaclacl::text[], '' FROM pg_default_acl
        UNION ALL
        SELECT 'role', rolname, rolcanlogin::text, NULL, '' FROM pg_roles WHERE starts_with(rolname, $1)
        UNION ALL
        SELECT 'member', pg_get_userbyid(roleid), pg_get_userbyid(member), NULL, ''
        FROM pg_auth_members WHERE starts_with(pg_get_userbyid(roleid), $1)
        ORDER BY 1, 2, 3
        """,
        guarded.prefix,
    )
    await sql.close()
    return [tuple(row) for row in rows]


async def _rights_of(guarded: Guarded, purpose: str) -> tuple[bool | None, str, str]:
    findings = {finding.check: finding for finding in await examine(guarded.settings(purpose))}
    return findings["rights"].ok, findings["rights"].says, findings["rights"].advice


async def _jobplane(*args: str, url: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "jobplane", *args],
        env={**os.environ, "DATABASE_URL": url, "COLUMNS": "300"},
        cwd=Path(__file__).parent.parent.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def _worker(guarded: Guarded, journal: Journal) -> WorkerProcess:
    return WorkerProcess(guarded.url_of("worker"), journal, {"JOBPLANE_KEEP_COMPLETED": "86400"})


async def _is_running(queue: JobQueue, job_id: UUID) -> bool:
    job = await queue.get_job(job_id)
    return job is not None and job.status is JobStatus.RUNNING


async def _has_completed(queue: JobQueue, tag: str) -> bool:
    return bool((await queue.list_jobs(tag=tag, status=JobStatus.COMPLETED)).jobs)


async def _is_gone(queue: JobQueue, job_id: UUID) -> bool:
    return await queue.get_job(job_id) is None
