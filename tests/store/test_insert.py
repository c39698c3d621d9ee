"""Enqueueing by plain SQL: an INSERT of the contract's columns, and the function enqueue_job for other languages."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from jobplane import JobStatus
from jobplane.sql import channel
from jobplane.store.store import Store
from tests.factories import SQL, count_jobs, make_job, row_of
from tests.support import until


async def plain_insert(sql: SQL, payload: str) -> UUID:
    """What a foreign producer does."""
    job_id: UUID = await sql.fetchval(
        "INSERT INTO control_plane.jobs (id, type, payload, status, max_attempts, scheduled_at) "
        "VALUES (gen_random_uuid(), 'rotate_key', $1, 'pending', 3, now()) RETURNING id",
        payload,
    )
    return job_id


@pytest.mark.parametrize(
    ("payload", "priority"),
    [
        ("{}", 0),
        ('{"priority": 5}', 5),
        ('{"priority": 1000}', 1000),
        ('{"priority": 99999}', 1000),
        ('{"priority": 1e300}', 1000),
        ('{"priority": -3}', 0),
        ('{"priority": 2.6}', 3),
        ('{"priority": "7"}', 0),
        ('{"priority": null}', 0),
        ('{"priority": [1]}', 0),
        ('["priority"]', 0),
    ],
)
async def test_a_plain_insert_is_an_enqueue_and_its_payloads_priority_is_honoured(
    sql: SQL, store: Store, payload: str, priority: int
) -> None:
    job_id = await plain_insert(sql, payload)

    (claim,) = await store.claim("default", ["rotate_key"], "w", timedelta(seconds=45), 10)

    assert (claim.id, claim.priority) == (job_id, priority)
    assert await sql.fetchval("SELECT $1::jsonb = $2::jsonb", claim.payload, payload)


async def test_plain_inserts_are_claimed_in_the_order_of_their_priorities(sql: SQL, store: Store) -> None:
    low, high, middle = [await plain_insert(sql, f'{{"priority": {n}}}') for n in (1, 9, 5)]

    claims = await store.claim("default", ["rotate_key"], "w", timedelta(seconds=45), 10)

    assert [claim.id for claim in claims] == [high, middle, low]


async def test_an_explicit_priority_wins_over_the_payloads(sql: SQL) -> None:
    job_id = await make_job(sql, priority=3, payload={"priority": 9})

    assert (await row_of(sql, job_id))["priority"] == 3


async def test_an_id_made_by_the_database_sorts_by_time_too(sql: SQL) -> None:
    """UUID version 7, on PostgreSQL 15 as on 18."""
    ids: list[UUID] = [
        await sql.fetchval("INSERT INTO control_plane.jobs (type) VALUES ('a') RETURNING id")
        for _ in range(100)
    ]

    assert {job_id.version for job_id in ids} == {7}
    assert {job_id.variant for job_id in ids} == {"specified in RFC 4122"}
    times = [job_id.int >> 80 for job_id in ids]
    assert times == sorted(times)
    assert len(set(times)) > 1
    milliseconds = await sql.fetchval("SELECT extract(epoch FROM clock_timestamp()) * 1000")
    assert abs(int(milliseconds) - times[-1]) < 60_000


# -- enqueue_job --------------------------------------------------------------------------------------


async def enqueue(sql: SQL, arguments: str) -> UUID:
    """Call the function as SQL writes it."""
    job_id: UUID = await sql.fetchval(f"SELECT control_plane.enqueue_job({arguments})")
    return job_id


async def test_enqueue_job_fills_in_the_defaults(sql: SQL) -> None:
    job_id = await enqueue(sql, "'rotate_key'")

    row = await row_of(sql, job_id)
    assert (row["type"], row["payload"], row["status"]) == ("rotate_key", "{}", "pending")
    assert (row["attempts"], row["max_attempts"], row["priority"], row["queue"]) == (0, 3, 0, "default")
    assert row["scheduled_at"] == row["created_at"]
    assert row["unique_key"] is None
    assert job_id.version == 7


async def test_enqueue_job_takes_every_option_by_name(sql: SQL) -> None:
    job_id = await enqueue(
        sql,
        "'rotate_key', '{\"a\": 1}', delay => '90 seconds', max_attempts => 7, priority => 5, queue => 'keys', "
        "unique_key => 'k', wake => false",
    )

    row = await row_of(sql, job_id)
    assert json.loads(row["payload"]) == {"a": 1, "priority": 5}
    assert (row["max_attempts"], row["priority"], row["queue"], row["unique_key"]) == (7, 5, "keys", "k")
    assert row["scheduled_at"] == row["created_at"] + timedelta(seconds=90)


async def test_enqueue_job_takes_a_due_time(sql: SQL) -> None:
    job_id = await enqueue(sql, "'a', scheduled_at => now() + interval '300 days'")

    row = await row_of(sql, job_id)
    assert row["scheduled_at"] == row["created_at"] + timedelta(days=300)


async def test_a_priority_in_the_payload_alone_is_honoured_by_enqueue_job_too(sql: SQL) -> None:
    job_id = await enqueue(sql, """'a', '{"priority": 8}'""")

    assert (await row_of(sql, job_id))["priority"] == 8


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ("NULL", "type"),
        ("''", "type"),
        ("'a b'", "type"),
        ("E'a\\nb'", "type"),
        ("repeat('x', 101)", "type"),
        ("'naïve'", "type"),
        ("'a', NULL", "payload"),
        ("'a', '[1]'", "payload"),
        ("'a', '7'", "payload"),
        ("'a', jsonb_build_object('x', repeat('y', 1048576))", "payload"),
        ("'a', delay => '-1 second'", "delay"),
        ("'a', delay => '24 hours 1 second'", "delay"),
        ("'a', delay => NULL", "delay"),
        ("'a', max_attempts => 0", "max_attempts"),
        ("'a', max_attempts => 101", "max_attempts"),
        ("'a', max_attempts => NULL", "max_attempts"),
        ("'a', priority => -1", "priority"),
        ("'a', priority => 1001", "priority"),
        ("'a', queue => 'a b'", "queue"),
        ("'a', queue => NULL", "queue"),
        ("'a', scheduled_at => now() + interval '367 days'", "scheduled_at"),
        ("'a', scheduled_at => 'infinity'", "scheduled_at"),
        ("'a', scheduled_at => '-infinity'", "scheduled_at"),
        ("'a', scheduled_at => '4713-01-01 BC'", "scheduled_at"),
        ("'a', scheduled_at => '0001-12-31 BC'", "scheduled_at"),
        ("'a', scheduled_at => '294276-12-31'", "scheduled_at"),
        ("'a', unique_key => ''", "unique_key"),
        ("'a', unique_key => repeat('x', 256)", "unique_key"),
    ],
)
async def test_enqueue_job_refuses_what_is_outside_a_limit_by_the_fields_name(
    sql: SQL, arguments: str, field: str
) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match=f"^{field} must be "):
        await enqueue(sql, arguments)

    assert await count_jobs(sql) == 0


async def test_a_key_of_255_wide_characters_is_accepted(sql: SQL) -> None:
    job_id = await enqueue(sql, "'a', unique_key => repeat('☃', 255)")

    assert len((await row_of(sql, job_id))["unique_key"]) == 255


async def test_a_taken_unique_key_returns_the_job_that_holds_it(sql: SQL) -> None:
    """I15."""
    first = await enqueue(sql, "'a', unique_key => 'k'")

    assert await enqueue(sql, "'b', unique_key => 'k'") == first
    await sql.execute("UPDATE control_plane.jobs SET status = 'running' WHERE id = $1", first)
    assert await enqueue(sql, "'b', unique_key => 'k'") == first
    await sql.execute("UPDATE control_plane.jobs SET status = $2 WHERE id = $1", first, JobStatus.FAILED)
    assert await enqueue(sql, "'b', unique_key => 'k'") != first
    assert await count_jobs(sql) == 2


async def test_workers_are_told_when_the_callers_transaction_commits_and_not_before(
    sql: SQL, database_url: str
) -> None:
    """I3."""
    heard: list[str] = []

    def take(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.append(str(payload))

    listener = await asyncpg.connect(database_url)
    await listener.add_listener(channel("control_plane"), take)

    async def something() -> list[str]:
        await listener.execute("SELECT 1")
        return heard

    transaction = sql.transaction()
    await transaction.start()
    await enqueue(sql, "'a', queue => 'rolled_back'")
    await transaction.rollback()
    await enqueue(sql, "'a', queue => 'silent', wake => false")
    transaction = sql.transaction()
    await transaction.start()
    await enqueue(sql, "'a', queue => 'mail'")
    assert await something() == []
    await transaction.commit()

    assert await until(something) == ["mail"]
    await listener.close()


async def test_the_function_cannot_be_led_astray_by_the_callers_search_path(sql: SQL) -> None:
    """S9: a caller's own now() or length() is never used."""
    await sql.execute(
        "CREATE SCHEMA evil; "
        "CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT '2000-01-01'::timestamptz $$; "
        "CREATE FUNCTION evil.length(text) RETURNS integer LANGUAGE sql AS $$ SELECT 0 $$; "
        "SET search_path = evil, pg_catalog"
    )

    job_id = await enqueue(sql, "'a'")

    assert (await row_of(sql, job_id))["scheduled_at"].year > 2000
