"""The table of SQLSTATEs: what each error of a real server means, whichever driver brings it."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import psycopg_pool
import pytest

from jobplane.errors import (
    DatabaseError,
    DatabaseUnavailableError,
    ReadOnlyDatabaseError,
    SchemaError,
    StatementError,
)
from jobplane.store.failures import Reaction, is_unique_violation, reaction_to, sqlstate_of, translated
from tests.factories import SQL

TABLE = [
    ("40001", Reaction.RETRY, StatementError),
    ("40P01", Reaction.RETRY, StatementError),
    ("55P03", Reaction.RETRY, StatementError),
    ("08006", Reaction.RECONNECT, DatabaseUnavailableError),
    ("08P01", Reaction.RECONNECT, DatabaseUnavailableError),
    ("57P01", Reaction.RECONNECT, DatabaseUnavailableError),
    ("57P02", Reaction.RECONNECT, DatabaseUnavailableError),
    ("57P03", Reaction.RECONNECT, DatabaseUnavailableError),
    ("57P05", Reaction.RECONNECT, DatabaseUnavailableError),
    ("25006", Reaction.RECONNECT, ReadOnlyDatabaseError),
    ("53100", Reaction.BACK_OFF, DatabaseUnavailableError),
    ("53200", Reaction.BACK_OFF, DatabaseUnavailableError),
    ("53300", Reaction.BACK_OFF, DatabaseUnavailableError),
    ("57014", Reaction.BACK_OFF, DatabaseUnavailableError),
    ("42P01", Reaction.DEPLOY, SchemaError),
    ("42703", Reaction.DEPLOY, SchemaError),
    ("42883", Reaction.DEPLOY, SchemaError),
    ("3F000", Reaction.DEPLOY, SchemaError),
    ("42501", Reaction.DEPLOY, StatementError),
    ("28P01", Reaction.FATAL, DatabaseUnavailableError),
    ("28000", Reaction.FATAL, DatabaseUnavailableError),
    ("3D000", Reaction.FATAL, DatabaseUnavailableError),
    ("22P05", Reaction.FATAL, StatementError),
    ("23505", Reaction.FATAL, StatementError),
    ("23514", Reaction.FATAL, StatementError),
    ("XX000", Reaction.FATAL, StatementError),
    ("JP999", Reaction.FATAL, StatementError),
]


def raising(state: str) -> str:
    """SQL that fails with a SQLSTATE."""
    return f"DO $$ BEGIN RAISE EXCEPTION 'on purpose' USING ERRCODE = '{state}'; END $$"


@pytest.mark.parametrize(("state", "reaction", "kind"), TABLE)
async def test_an_error_of_asyncpg_is_told_by_its_sqlstate(
    sql: SQL, state: str, reaction: Reaction, kind: type[DatabaseError]
) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await sql.execute(raising(state))

    assert (sqlstate_of(caught.value), reaction_to(caught.value)) == (state, reaction)
    assert type(translated(caught.value, "job/claim")) is kind


def test_an_error_of_psycopg_is_told_by_its_sqlstate(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for state, reaction, kind in TABLE:
            with pytest.raises(psycopg.Error) as caught:
                connection.execute(raising(state).encode())
            assert (sqlstate_of(caught.value), reaction_to(caught.value)) == (state, reaction)
            assert type(translated(caught.value, "job/claim")) is kind


@pytest.mark.parametrize(
    ("error", "reaction"),
    [
        (ConnectionRefusedError(111, "refused"), Reaction.RECONNECT),
        (ConnectionResetError(), Reaction.RECONNECT),
        (TimeoutError(), Reaction.RECONNECT),
        (asyncio.IncompleteReadError(b"", 1), Reaction.RECONNECT),
        (asyncpg.InterfaceError("connection is closed"), Reaction.RECONNECT),
        (asyncpg.ConnectionDoesNotExistError("closed in the middle of operation"), Reaction.RECONNECT),
        (psycopg.OperationalError("server closed the connection unexpectedly"), Reaction.RECONNECT),
        (psycopg_pool.PoolTimeout("no connection"), Reaction.RECONNECT),
        (ValueError("ours"), Reaction.FATAL),
        (psycopg.ProgrammingError("ours"), Reaction.FATAL),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_an_error_without_sqlstate_is_told_by_its_kind(error: Exception, reaction: Reaction) -> None:
    assert reaction_to(error) is reaction


async def test_the_message_names_statement_cause_and_advice(sql: SQL) -> None:
    with pytest.raises(asyncpg.UndefinedTableError) as caught:
        await sql.execute("SELECT * FROM control_plane.nothing")

    message = str(translated(caught.value, "job/claim"))
    assert message.startswith("job/claim: relation")
    assert "(SQLSTATE 42P01)" in message
    assert "run jobplane migrate up" in message


def test_an_error_without_a_message_is_named_by_its_class() -> None:
    assert "TimeoutError" in str(translated(TimeoutError(), "job/get"))


async def test_a_unique_violation_is_known_by_the_cause_of_our_error(sql: SQL) -> None:
    errors: dict[str, StatementError] = {}
    for state in ("23505", "23514"):
        with pytest.raises(StatementError) as caught:  # noqa: PT012 - as the store raises it
            try:
                await sql.execute(raising(state))
            except asyncpg.PostgresError as error:
                raise translated(error, "job/retry") from error
        errors[state] = caught.value

    assert is_unique_violation(errors["23505"])
    assert not is_unique_violation(errors["23514"])
    assert not is_unique_violation(StatementError("without a cause"))


async def test_several_hosts_of_which_none_can_be_written_to_are_waited_for(
    server_url: str, sql: SQL
) -> None:
    """In the middle of a failover only the standby answers (F16)."""
    role = "jobplane_test_reader"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'p'")
    await sql.execute(f"ALTER ROLE {role} SET default_transaction_read_only = on")
    parts = urlsplit(server_url)
    hosts = f"{role}:p@{parts.hostname}:{parts.port},{parts.hostname}:{parts.port}"
    url = urlunsplit(parts._replace(netloc=hosts, query="target_session_attrs=read-write"))
    try:
        with pytest.raises(asyncpg.exceptions.TargetServerAttributeNotMatched) as raised:
            await asyncpg.connect(url)
    finally:
        await sql.execute(f"DROP ROLE {role}")

    assert reaction_to(raised.value) is Reaction.RECONNECT
