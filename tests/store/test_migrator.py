"""Migrations: up, down and status; refused when unsafe; many at once; patient with a busy table."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import asyncpg
import pytest

from jobplane import DatabaseSettings, MigrationError
from jobplane.store import migrator
from jobplane.store.fit import OLDEST_CODE
from jobplane.store.migrator import Migration, Migrator, migrations, sql_of
from jobplane.store.online import statements_of
from tests.factories import SQL
from tests.support import until

NEWEST = migrations()[-1].version
FIRST_RELEASE = 8
"""Up to here no worker ran on anything but the newest schema."""
WAITS = (
    "SELECT pid FROM pg_stat_activity WHERE datname = current_database() "
    "AND application_name = 'jobplane migrate' AND wait_event_type = 'Lock'"
)
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'control_plane' ORDER BY tablename"


@pytest.fixture
def fresh(empty_database_url: str) -> Migrator:
    """The migrator of an empty database."""
    return Migrator(DatabaseSettings(url=empty_database_url))


@pytest.fixture
async def bare(empty_database_url: str) -> AsyncIterator[SQL]:
    """A connection to the same database."""
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def versions(sql: SQL) -> list[int]:
    """What the log says was applied."""
    rows = await sql.fetch("SELECT version FROM control_plane.jobplane_migrations ORDER BY version")
    return [row["version"] for row in rows]


def test_the_files_are_numbered_without_gaps_and_each_has_a_way_down() -> None:
    assert [migration.version for migration in migrations()] == list(range(1, NEWEST + 1))
    assert all(migration.down.strip() for migration in migrations())


async def test_up_applies_everything_once_and_records_it(fresh: Migrator, bare: SQL) -> None:
    assert [status.applied_at for status in await fresh.status()] == [None] * NEWEST

    applied = await fresh.up()
    again = await fresh.up()

    assert [migration.version for migration in applied] == list(range(1, NEWEST + 1))
    assert again == []
    assert await versions(bare) == list(range(1, NEWEST + 1))
    rows = await bare.fetch("SELECT * FROM control_plane.jobplane_migrations ORDER BY version")
    assert [(row["name"], row["checksum"]) for row in rows] == [(m.name, m.checksum) for m in migrations()]
    assert all(
        status.applied_at == row["applied_at"] for status, row in zip(await fresh.status(), rows, strict=True)
    )


async def test_up_goes_no_further_than_asked(fresh: Migrator, bare: SQL) -> None:
    await fresh.up(to=4)

    assert await versions(bare) == [1, 2, 3, 4]
    assert [status.applied_at is not None for status in await fresh.status()] == [True] * 4 + [False] * (
        NEWEST - 4
    )


@pytest.mark.parametrize("version", range(NEWEST))
async def test_down_undoes_down_to_a_version_and_up_makes_the_same_again(
    fresh: Migrator, bare: SQL, version: int
) -> None:
    await fresh.up(to=version)
    before = await _shape(bare)
    await fresh.up()
    newest = await _shape(bare)

    undone = await fresh.down(version)

    assert [migration.version for migration in undone] == list(range(NEWEST, version, -1))
    assert await _shape(bare) == before
    await fresh.up()
    assert await _shape(bare) == newest


async def _shape(sql: SQL) -> list[str]:
    """Everything in the schema, as text."""
    rows = await sql.fetch(
        """
        SELECT format('column %s.%s %s %s %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                      pg_get_expr(d.adbin, d.adrelid)) AS line
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = to_regnamespace('control_plane') AND c.relkind = 'r'
        UNION ALL
        SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class AS c ON c.oid = indrelid
        WHERE c.relnamespace = to_regnamespace('control_plane')
        UNION ALL
        SELECT format('constraint %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid)) FROM pg_constraint
        WHERE connamespace = to_regnamespace('control_plane') AND contype <> 'n'
        UNION ALL
        SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = to_regnamespace('control_plane')
        UNION ALL
        SELECT pg_get_triggerdef(t.oid) FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = to_regnamespace('control_plane') AND NOT tgisinternal
        UNION ALL
        SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'control_plane'
        ORDER BY 1
        """
    )
    return [row["line"] for row in rows]


async def test_down_keeps_the_jobs_until_their_table_goes(fresh: Migrator, bare: SQL) -> None:
    await fresh.up()
    await bare.execute(
        "INSERT INTO control_plane.jobs (type, priority, queue) VALUES ('a', 5, 'q'), ('b', 0, 'q')"
    )

    await fresh.down(3)
    assert {row["type"] for row in await bare.fetch("SELECT type FROM control_plane.jobs")} == {"a", "b"}
    await fresh.up()
    assert await bare.fetchval("SELECT count(*) FROM control_plane.jobs") == 2


async def test_down_to_nothing_leaves_a_shared_schema_with_what_is_not_ours(
    fresh: Migrator, bare: SQL
) -> None:
    await fresh.up()
    await bare.execute("CREATE TABLE control_plane.projects (id int)")

    await fresh.down(0)

    assert [row["tablename"] for row in await bare.fetch(TABLES)] == ["projects"]


async def test_a_migration_edited_after_it_was_applied_is_refused_by_name(fresh: Migrator, bare: SQL) -> None:
    await fresh.up(to=5)
    await bare.execute(
        "UPDATE control_plane.jobplane_migrations SET checksum = repeat('0', 64) WHERE version = 4"
    )

    for attempt in (fresh.up(), fresh.down(3), fresh.status()):
        with pytest.raises(MigrationError, match="004_evolve_jobs was edited after it had been applied"):
            await attempt
    assert await versions(bare) == [1, 2, 3, 4, 5]


async def test_a_database_newer_than_the_code_is_refused_with_advice(fresh: Migrator, bare: SQL) -> None:
    await fresh.up()
    await bare.execute(
        "INSERT INTO control_plane.jobplane_migrations (version, name, checksum) VALUES (999, 'from_later', 'x')"
    )

    for attempt in (fresh.up(), fresh.down(3), fresh.status()):
        with pytest.raises(MigrationError, match=r"999_from_later.* newer than the code. Upgrade jobplane"):
            await attempt


@pytest.mark.parametrize("online", [False, True], ids=["in a transaction", "online"])
async def test_a_failing_migration_changes_nothing_and_is_not_recorded(
    fresh: Migrator,
    bare: SQL,
    monkeypatch: pytest.MonkeyPatch,
    online: bool,  # noqa: FBT001
) -> None:
    text = "CREATE TABLE {schema}.half ();\nSELECT 1 / 0;\n"
    broken = Migration(NEWEST + 1, "broken", "-- online\nSELECT 1 / 0;\n" if online else text, "SELECT 1;\n")
    known = migrations()
    monkeypatch.setattr(migrator, "migrations", lambda: (*known, broken))

    now = "may be repeated" if online else "was rolled back"
    with pytest.raises(MigrationError, match=f"{NEWEST + 1:03}_broken failed and {now}: division by zero"):
        await fresh.up()

    assert await versions(bare) == list(range(1, NEWEST + 1))
    assert "half" not in {row["tablename"] for row in await bare.fetch(TABLES)}


async def test_four_processes_that_migrate_at_once_all_succeed(empty_database_url: str, bare: SQL) -> None:
    program = """
import asyncio, sys
from jobplane import DatabaseSettings
from jobplane.store.migrator import Migrator
from jobplane.store.online import statements_of
print(len(asyncio.run(Migrator(DatabaseSettings(url=sys.argv[1])).up())))
"""
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            empty_database_url,
            cwd=Path(__file__).parents[2],
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(4)
    ]

    answers = [(await process.communicate())[0].decode().strip() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert sorted(map(int, answers)) == [0, 0, 0, NEWEST], "one did it all, the others found it done"
    assert await versions(bare) == list(range(1, NEWEST + 1))


@pytest.mark.parametrize("isolation", ["read_committed", "repeatable_read"])
@pytest.mark.parametrize("version", [4, 5, 6])
async def test_a_reader_in_the_way_is_waited_for_without_holding_up_others(
    fresh: Migrator,
    bare: SQL,
    empty_database_url: str,
    version: int,
    isolation: Literal["read_committed", "repeatable_read"],
) -> None:
    """A short lock_timeout and another try: whoever queues behind the migration waits for a second at most."""
    await fresh.up(to=version - 1)
    await bare.execute("INSERT INTO control_plane.jobs (id, type) VALUES (gen_random_uuid(), 'a')")
    reader = await asyncpg.connect(empty_database_url)
    transaction = reader.transaction(isolation=isolation)
    await transaction.start()
    await reader.fetch("SELECT * FROM control_plane.jobs")

    migrating = asyncio.create_task(fresh.up(to=version))

    async def waits() -> bool:
        return bool(await bare.fetchval(WAITS))

    await until(waits)
    assert await asyncio.wait_for(bare.fetchval("SELECT count(*) FROM control_plane.jobs"), 5) == 1
    assert not migrating.done()
    await transaction.rollback()
    await reader.close()

    assert [migration.version for migration in await migrating] == [version]
    assert await bare.fetchval("SELECT count(*) FROM control_plane.jobs") == 1
    assert await bare.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


async def test_an_online_migration_that_was_interrupted_is_done_by_the_next_up(
    fresh: Migrator, bare: SQL, empty_database_url: str
) -> None:
    await fresh.up(to=5)
    await bare.execute("INSERT INTO control_plane.jobs (type) VALUES ('a')")
    reader = await asyncpg.connect(empty_database_url)
    transaction = reader.transaction(isolation="repeatable_read")
    await transaction.start()
    await reader.fetch("SELECT * FROM control_plane.jobs")
    migrating = asyncio.create_task(fresh.up(to=6))

    async def killed() -> bool:
        return bool(await bare.fetchval(f"SELECT pg_terminate_backend(pid) FROM ({WAITS}) AS waiting"))

    await until(killed)
    with pytest.raises(
        MigrationError, match=r"lost during migration 006_index_for_claims.* run the same again"
    ):
        await migrating
    assert await bare.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 1
    await transaction.rollback()
    await reader.close()

    assert [migration.version for migration in await fresh.up(to=6)] == [6]
    assert await bare.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 0


async def test_another_schema_is_a_queue_of_its_own(empty_database_url: str, bare: SQL) -> None:
    for schema in ("control_plane", "other_plane"):
        await Migrator(DatabaseSettings(url=empty_database_url, schema=schema)).up()

    rows = await bare.fetch("SELECT schemaname FROM pg_tables WHERE tablename = 'jobs' ORDER BY 1")
    assert [row["schemaname"] for row in rows] == ["control_plane", "other_plane"]
    assert await bare.fetchval("SELECT other_plane.enqueue_job('a')") is not None
    assert await bare.fetchval("SELECT count(*) FROM control_plane.jobs") == 0


async def test_the_printed_sql_does_what_up_does(fresh: Migrator, bare: SQL, server_url: str) -> None:
    """For Alembic, Flyway and others: each file runs by itself, statement by statement where it says online."""
    for migration in migrations():
        text = sql_of(migration, "control_plane")
        parts = statements_of(text) if text.startswith("-- online") else [text]
        for part in parts:
            await bare.execute(part)
    by_hand = await _shape(bare)
    await bare.execute("DROP SCHEMA control_plane CASCADE")

    await fresh.up()

    assert await _shape(bare) == by_hand


def test_a_migration_that_takes_something_away_says_which_code_it_leaves_behind() -> None:
    """F15: workers of the last release go on while the next schema is there already."""
    takes_away = re.compile(
        r"DROP (TABLE|COLUMN|FUNCTION|SCHEMA)|RENAME (COLUMN|TO)|ALTER COLUMN \w+ (TYPE|DROP DEFAULT)"
    )

    silent = [
        f"{migration.version:03}_{migration.name}"
        for migration in migrations()
        if migration.version > FIRST_RELEASE
        and takes_away.search(migration.up)
        and not OLDEST_CODE.search(migration.up)
    ]

    assert silent == []
