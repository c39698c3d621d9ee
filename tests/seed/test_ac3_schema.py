"""AC3: the jobs table's schema is the contract's, row by row of its mapping, after 003_create_jobs_table."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from jobplane import DatabaseSettings
from jobplane.store.migrator import Migrator
from tests.factories import SQL

CONTRACT = {
    # column: type, whether NULL is allowed, default
    "id": ("uuid", False, None),
    "type": ("text", False, None),
    "payload": ("jsonb", True, "'{}'::jsonb"),
    "status": ("text", True, "'pending'::text"),
    "attempts": ("integer", True, "0"),
    "max_attempts": ("integer", True, "3"),
    "last_error": ("text", True, None),
    "scheduled_at": ("timestamp with time zone", False, "now()"),
    "started_at": ("timestamp with time zone", True, None),
    "completed_at": ("timestamp with time zone", True, None),
    "created_at": ("timestamp with time zone", False, "now()"),
}
INSERT = """
INSERT INTO control_plane.jobs (id, type, payload, status, max_attempts, scheduled_at)
VALUES (gen_random_uuid(), 'provision_project', '{"project_id": "proj-123"}', 'pending', 3, now())
RETURNING id, type, status, scheduled_at, created_at
"""
COLUMNS = """
SELECT
    a.attname AS name,
    format_type(a.atttypid, a.atttypmod) AS type,
    NOT a.attnotnull AS nullable,
    pg_get_expr(d.adbin, d.adrelid) AS "default"
FROM pg_attribute AS a
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attrelid = 'control_plane.jobs'::regclass AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum
"""


@pytest.fixture
async def contract(empty_database_url: str) -> AsyncIterator[SQL]:
    """A database migrated to version 3 and no further."""
    await Migrator(DatabaseSettings(url=empty_database_url)).up(to=3)
    connection = await asyncpg.connect(empty_database_url)
    yield connection
    await connection.close()


async def test_ac3_the_table_has_the_eleven_columns_of_the_contract_in_order(contract: SQL) -> None:
    rows = await contract.fetch(COLUMNS)

    assert [row["name"] for row in rows] == list(CONTRACT)


@pytest.mark.parametrize("column", CONTRACT)
async def test_ac3_the_column_has_its_type_default_and_nullability(contract: SQL, column: str) -> None:
    (row,) = [row for row in await contract.fetch(COLUMNS) if row["name"] == column]

    assert (row["type"], row["nullable"], row["default"]) == CONTRACT[column]


async def test_ac3_the_constraints_are_the_contracts(contract: SQL) -> None:
    rows = await contract.fetch(
        "SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint "
        "WHERE conrelid = 'control_plane.jobs'::regclass AND contype <> 'n' ORDER BY conname"
    )

    statuses = "'pending'::text, 'running'::text, 'completed'::text, 'failed'::text, 'cancelled'::text"
    assert {row["conname"]: row["definition"] for row in rows} == {
        "jobs_pkey": "PRIMARY KEY (id)",
        "jobs_status_check": f"CHECK ((status = ANY (ARRAY[{statuses}])))",
        "jobs_attempts_check": "CHECK ((attempts >= 0))",
        "jobs_max_attempts_check": "CHECK ((max_attempts > 0))",
    }


@pytest.mark.parametrize(
    ("column", "value"),
    [("status", "'scheduled'"), ("attempts", "-1"), ("max_attempts", "0"), ("max_attempts", "-3")],
)
async def test_ac3_a_value_outside_its_check_is_refused(contract: SQL, column: str, value: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError, match=f"jobs_{column}_check"):
        await contract.execute(
            f"INSERT INTO control_plane.jobs (id, type, {column}) VALUES (gen_random_uuid(), 't', {value})"
        )

    assert await contract.fetchval("SELECT count(*) FROM control_plane.jobs") == 0


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled"])
async def test_ac3_each_status_of_the_contract_is_allowed(contract: SQL, status: str) -> None:
    await contract.execute(
        "INSERT INTO control_plane.jobs (id, type, status) VALUES (gen_random_uuid(), 't', $1)", status
    )

    assert await contract.fetchval("SELECT status FROM control_plane.jobs") == status


@pytest.mark.parametrize("column", ["id", "type", "scheduled_at", "created_at"])
async def test_ac3_a_missing_value_is_refused_where_the_contract_says_not_null(
    contract: SQL, column: str
) -> None:
    given = {
        "id": "gen_random_uuid()",
        "type": "'t'",
        "scheduled_at": "now()",
        "created_at": "now()",
        column: "NULL",
    }

    with pytest.raises(asyncpg.NotNullViolationError, match=column):
        await contract.execute(
            f"INSERT INTO control_plane.jobs ({', '.join(given)}) VALUES ({', '.join(given.values())})"
        )


async def test_ac3_the_defaults_are_applied(contract: SQL) -> None:
    await contract.execute("INSERT INTO control_plane.jobs (id, type) VALUES (gen_random_uuid(), 't')")

    row = await contract.fetchrow("SELECT * FROM control_plane.jobs")
    assert row is not None
    assert (row["payload"], row["status"], row["attempts"], row["max_attempts"]) == ("{}", "pending", 0, 3)
    assert row["scheduled_at"] == row["created_at"]
    assert (row["last_error"], row["started_at"], row["completed_at"]) == (None, None, None)


async def test_ac3_the_insert_of_the_contract_works_on_its_own_table(contract: SQL) -> None:
    row = await contract.fetchrow(INSERT)

    assert row is not None
    assert (row["type"], row["status"]) == ("provision_project", "pending")


async def test_ac3_the_insert_of_the_contract_works_on_the_newest_table(sql: SQL) -> None:
    row = await sql.fetchrow(INSERT)

    assert row is not None
    assert (row["type"], row["status"]) == ("provision_project", "pending")


async def test_ac3_the_newest_table_still_has_the_columns_of_the_contract(sql: SQL) -> None:
    """Their types and names; four of them have become NOT NULL, and id has a default."""
    rows = await sql.fetch(COLUMNS)

    newest = {row["name"]: row for row in rows}
    for name, (kind, _, default) in CONTRACT.items():
        assert newest[name]["type"] == kind
        if name != "id":
            assert newest[name]["default"] == default
    assert not any(newest[name]["nullable"] for name in ("payload", "status", "attempts", "max_attempts"))
