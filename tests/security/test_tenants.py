"""S8: tenants. Keys are each tenant's own; with row security a tenant's programs see and write its own jobs only, also
through a pooler that hands each transaction another connection, after errors, cancelled calls and timeouts.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Final
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID

import asyncpg
import psycopg
import pytest

from jobplane import (
    DatabaseSettings,
    JobContext,
    JobQueue,
    JobStatus,
    Registry,
    SyncJobQueue,
    Worker,
    new_job,
    task,
)
from jobplane.client.steps import Query, Steps
from jobplane.errors import DatabaseError, InvalidInputError, JobNotFoundError, SchemaError, StatementError
from jobplane.ids import id_from_key
from jobplane.settings import resolve
from jobplane.sql import SQLValue, load
from jobplane.store import roles, tenants
from jobplane.store.migrator import Migrator
from jobplane.store.session import WORKER_SESSION
from tests.factories import SQL, make_job, row_of
from tests.plans.explain import explain_statement
from tests.security.logins import LOGINS, PASSWORD, Guarded, guarded_database
from tests.security.pooler import pooled
from tests.support import until

REQUESTS: Final = 5000
"""By each of two tenants."""
AT_ONCE: Final = 16
BAD_NAMES: Final = ("", "a b", "a'b", "a\x00b", "é", "x" * 101, 'a"; DROP TABLE jobs', "a\n")


@pytest.fixture
def guarded(server_url: str, template: str) -> Iterator[Guarded]:
    """A database with roles."""
    with guarded_database(server_url, template) as made:
        yield made


@pytest.fixture
async def walled(guarded: Guarded) -> Guarded:
    """The same with row security on."""
    await tenants.enable(guarded.admin, guarded.prefix)
    return guarded


@pytest.fixture
async def admin(guarded: Guarded) -> AsyncIterator[SQL]:
    """A superuser, whom row security does not concern."""
    connection = await asyncpg.connect(guarded.url)
    yield connection
    await connection.close()


@pytest.fixture
def through_pooler(guarded: Guarded, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """URLs of logins through PgBouncer; the parameter is how many server connections each may have."""
    size = int(getattr(request, "param", 3))
    users = {f"{guarded.role(purpose)}_login": PASSWORD for purpose in LOGINS}
    with pooled(guarded.url, users, size) as port:

        def url(purpose: str) -> str:
            parts = urlsplit(guarded.url_of(purpose))
            return urlunsplit(parts._replace(netloc=f"{parts.username}:{PASSWORD}@127.0.0.1:{port}"))

        yield url


# -- keys ------------------------------------------------------------------------------------------------------


async def test_keys_are_each_tenants_own(queue: JobQueue, sql: SQL) -> None:
    async with (
        JobQueue(settings=queue.settings, tenant="acme") as acme,
        JobQueue(settings=queue.settings, tenant="bolt") as bolt,
    ):
        clients = (queue, acme, bolt)
        unique = [await client.enqueue("work", unique_key="k") for client in clients]
        again = [await client.enqueue("work", unique_key="k") for client in clients]
        keyed = [await client.enqueue("work", idempotency_key="i") for client in clients]
        keyed_again = [await client.enqueue("work", idempotency_key="i") for client in clients]

    assert [made.existing for made in unique + keyed] == [False] * 6
    assert [(made.id, made.existing) for made in again] == [(made.id, True) for made in unique]
    assert [(made.id, made.existing) for made in keyed_again] == [(made.id, True) for made in keyed]
    assert len({made.id for made in unique + keyed}) == 6
    assert [(await row_of(sql, made.id))["tenant"] for made in unique] == [None, "acme", "bolt"]


def test_ids_of_keys_without_a_tenant_are_what_they_were() -> None:
    assert id_from_key("order-1") == UUID("d755d0e8-7e9e-5247-9812-a6e5f3ab52bc")
    assert id_from_key("order-1", "acme") != id_from_key("order-1")
    assert new_job("work", {}, {"idempotency_key": "k", "tenant": "acme"}).id == id_from_key("k", "acme")


async def test_one_batch_of_many_tenants_keeps_their_keys_apart(queue: JobQueue) -> None:
    wishes = [new_job("work", {}, {"unique_key": "k"}) for _ in range(20)]
    wishes += [
        new_job("work", {}, {"unique_key": "k", "tenant": name})
        for name in ("acme", "bolt")
        for _ in range(20)
    ]

    made = await asyncio.gather(*(queue.enqueue_new(wish) for wish in wishes))

    assert len({result.id for result in made}) == 3
    assert sum(not result.existing for result in made) == 3


async def test_a_job_made_without_a_client_gets_the_tenant_of_the_client_that_writes_it(
    settings: DatabaseSettings, sql: SQL
) -> None:
    @task
    async def send(to: str) -> None: ...

    async with JobQueue(settings=settings, tenant="acme") as queue:
        wish = send.with_options(idempotency_key="k").new("you")
        made = await queue.enqueue_new(wish)
        again = await queue.enqueue("send", {"to": "you"}, idempotency_key="k")
        assert await queue.enqueue_many([send.new("a"), send.new("b")]) == 2

        job = await queue.get_job(made.id)
        assert job is not None
        assert (job.tenant, made.id) == ("acme", id_from_key("k", "acme"))
        assert (again.id, again.existing) == (made.id, True)
    assert await _tenants_in(sql) == ["acme"]


async def test_a_job_of_another_tenant_is_refused_by_a_tenants_client(queue: JobQueue, sql: SQL) -> None:
    async with JobQueue(settings=queue.settings, tenant="acme") as acme:
        theirs = await queue.enqueue("work", tenant="bolt")
        with pytest.raises(InvalidInputError, match="tenant must be the client's own, 'acme'"):
            await acme.enqueue("work", tenant="bolt")
        with pytest.raises(InvalidInputError, match="a job of another tenant has it"):
            await acme.enqueue("work", id=theirs.id)
    with pytest.raises(InvalidInputError, match="tenant must be the client's own"):
        SyncJobQueue(settings=queue.settings, tenant="acme").enqueue("work", tenant="bolt")
    assert await sql.fetchval("SELECT count(*) FROM control_plane.jobs") == 1


@pytest.mark.parametrize("name", BAD_NAMES)
def test_what_cannot_be_a_tenant_is_refused(name: str) -> None:
    for make in (
        lambda: JobQueue("postgresql://h/d", tenant=name),
        lambda: SyncJobQueue("postgresql://h/d", tenant=name),
        lambda: new_job("work", {}, {"tenant": name}),
    ):
        with pytest.raises(InvalidInputError, match="tenant must be 1 to 100 characters"):
            make()


@pytest.mark.parametrize("name", [name for name in BAD_NAMES if "\x00" not in name and name])
async def test_what_cannot_be_a_tenant_is_refused_by_the_function_too(sql: SQL, name: str) -> None:
    with pytest.raises(asyncpg.InvalidParameterValueError, match="tenant must be 1 to 100 characters"):
        await sql.fetchval("SELECT control_plane.enqueue_job('work', tenant => $1)", name)


async def test_the_function_takes_a_tenant_and_keeps_keys_apart(sql: SQL) -> None:
    enqueue = "SELECT control_plane.enqueue_job('work', unique_key => 'k', tenant => $1)"

    first = {name: await sql.fetchval(enqueue, name) for name in (None, "acme", "bolt")}
    again = {name: await sql.fetchval(enqueue, name) for name in (None, "acme", "bolt")}

    assert first == again
    assert len(set(first.values())) == 3
    assert {name: (await row_of(sql, job_id))["tenant"] for name, job_id in first.items()} == {
        name: name for name in first
    }


async def test_the_column_is_added_without_rewriting_the_table(database_url: str, sql: SQL) -> None:
    settings = DatabaseSettings(url=database_url)
    await Migrator(settings).down(9)
    await sql.reload_schema_state()
    job_id = await make_job(sql)
    before = await sql.fetchval("SELECT pg_relation_filenode('control_plane.jobs')")

    await Migrator(settings).up()

    assert await sql.fetchval("SELECT pg_relation_filenode('control_plane.jobs')") == before
    assert (await row_of(sql, job_id))["tenant"] is None


# -- workers -----------------------------------------------------------------------------------------------------


async def test_workers_run_the_jobs_of_all_tenants_and_handlers_see_whose(
    walled: Guarded, admin: SQL, make_worker: Callable[..., Worker]
) -> None:
    seen: list[tuple[str | None, str | None]] = []

    @task
    async def look(ctx: JobContext) -> None:
        seen.append((ctx.tenant, ctx.job.tenant))
        if ctx.tenant == "bolt":
            raise ValueError("no")

    ids = [await make_job(admin, type="look", tenant=name, max_attempts=1) for name in ("acme", "bolt", None)]

    async with make_worker(Registry([look]), url=walled.url_of("worker")):
        for job_id in ids:
            await until(partial(_has_ended, admin, job_id))

    assert sorted(seen, key=str) == [("acme", "acme"), ("bolt", "bolt"), (None, None)]
    async with _client(walled, "bolt") as bolt, _client(walled, "acme") as acme:
        assert [attempt.message for attempt in await bolt.list_attempts(ids[1])] == ["no"]
        assert await acme.list_attempts(ids[1]) == []


async def test_row_security_leaves_the_plans_of_workers_alone(guarded: Guarded) -> None:
    login = await asyncpg.connect(guarded.url_of("worker"))
    await login.execute(WORKER_SESSION.for_session)
    args: dict[str, dict[str, SQLValue]] = {
        "job/claim": {"lease": 45.0, "worker_id": "w", "queue": "default", "types": ["work"], "limit": 10},
        "job/complete": {"ids": [], "epochs": []},
        "job/complete_epoch": {"ids": [], "epoch": 1},
        "job/renew": {"ids": [], "epochs": [], "lease": 45.0},
        "job/rescue": {"limit": 500, "crash_limit": 3},
    }
    without = {
        name: await explain_statement(login, load(name), values, "generic") for name, values in args.items()
    }

    await tenants.enable(guarded.admin, guarded.prefix)

    for name, values in args.items():
        plan = await explain_statement(login, load(name), values, "generic")
        assert plan.text == without[name].text, name
    await login.close()


# -- row security --------------------------------------------------------------------------------------------------


async def test_without_a_tenant_nothing_is_seen_and_nothing_can_be_written(
    walled: Guarded, admin: SQL
) -> None:
    await admin.execute(load("history/on").numbered)
    for name in ("acme", None):
        job_id = await make_job(admin, JobStatus.FAILED, tenant=name)
        await admin.execute(
            "INSERT INTO control_plane.job_attempts (job_id, epoch, attempt, outcome) VALUES ($1, 1, 1, 'failed')",
            job_id,
        )
    for purpose in ("api", "viewer"):
        login = await asyncpg.connect(walled.url_of(purpose))
        tables = ["jobs", "job_attempts", "job_events", "job_overview"]
        # Also after a transaction that had a tenant, when the setting reads as an empty word instead of nothing.
        for _ in range(2):
            counts = [await login.fetchval(f"SELECT count(*) FROM control_plane.{table}") for table in tables]
            assert counts == [0, 0, 0, 0], purpose
            async with login.transaction():
                await login.execute("SELECT set_config('jobplane.tenant', 'acme', true)")
                counts = [
                    await login.fetchval(f"SELECT count(*) FROM control_plane.{table}") for table in tables
                ]
                assert counts == [1, 1, 1, 1], purpose
        await login.close()

    login = await asyncpg.connect(walled.url_of("api"))
    async with login.transaction():
        await login.execute("SELECT set_config('jobplane.tenant', 'acme', true)")
    # Now the setting reads as an empty word, which is no tenant either.
    for tenant in ("NULL", "''", "'acme'"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await login.execute(f"INSERT INTO control_plane.jobs (type, tenant) VALUES ('work', {tenant})")
    job_id = await make_job(admin, tenant="acme")
    assert await login.fetch("SELECT * FROM control_plane.cancel_job($1)", job_id) == []
    await login.close()
    async with JobQueue(settings=walled.settings("api")) as queue:
        with pytest.raises(StatementError, match="42501"):
            await queue.enqueue("work")
        assert (await queue.list_jobs()).jobs == ()


async def test_a_tenant_cannot_write_into_another(walled: Guarded, admin: SQL) -> None:
    theirs = await make_job(admin, tenant="bolt")
    login = await asyncpg.connect(walled.url_of("api"))
    async with login.transaction():
        await login.execute("SELECT set_config('jobplane.tenant', 'acme', true)")
        assert await login.fetch("SELECT * FROM control_plane.cancel_job($1)", theirs) == []
        assert await login.fetch("SELECT * FROM control_plane.retry_job($1, 1)", theirs) == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with login.transaction():
                await login.execute("INSERT INTO control_plane.jobs (type, tenant) VALUES ('work', 'bolt')")
    await login.close()
    async with _client(walled, "acme") as acme:
        with pytest.raises(JobNotFoundError):
            await acme.cancel(theirs)
        with pytest.raises(JobNotFoundError):
            await acme.retry(theirs)
        with pytest.raises(DatabaseError):
            await acme.enqueue("work", id=theirs)
    assert (await row_of(admin, theirs))["status"] == "pending"


async def test_the_function_keeps_to_the_tenant_of_its_caller(walled: Guarded, admin: SQL) -> None:
    """It runs as the owner, who sees all tenants."""
    login = await asyncpg.connect(walled.url_of("enqueue"))
    for call in ("enqueue_job('work')", "enqueue_job('work', tenant => 'acme')"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="allows jobs of no tenant"):
            await login.fetchval(f"SELECT control_plane.{call}")
    await make_job(admin, tenant="bolt", unique_key="k")
    async with login.transaction():
        await login.execute("SELECT set_config('jobplane.tenant', 'acme', true)")
        made = await login.fetchval("SELECT control_plane.enqueue_job('work', unique_key => 'k')")
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="of 'acme', not of 'bolt'"):
            async with login.transaction():
                await login.fetchval("SELECT control_plane.enqueue_job('work', tenant => 'bolt')")
    await login.close()
    assert (await row_of(admin, made))["tenant"] == "acme"
    assert await admin.fetchval("SELECT count(*) FROM control_plane.jobs") == 2


async def test_every_way_to_enqueue_works_under_row_security(walled: Guarded, admin: SQL) -> None:
    settings = walled.settings("api", row_security=True)
    async with JobQueue(settings=settings, tenant="acme") as queue:
        await queue.enqueue("work")
        await asyncio.gather(*(queue.enqueue("work") for _ in range(20)))
        assert await queue.enqueue_many(new_job("work", {}) for _ in range(1500)) == 1500
        await asyncio.to_thread(queue.sync.enqueue, "work")
        many = [new_job("work", {}) for _ in range(3)]
        assert await asyncio.to_thread(queue.sync.enqueue_many, many) == 3
        asyncpg_connection = await asyncpg.connect(settings.url)
        async with asyncpg_connection.transaction():
            mine = await queue.enqueue("work", connection=asyncpg_connection, notify=True)
            assert await queue.get_job(mine.id, connection=asyncpg_connection) is not None
            assert await queue.enqueue_many([new_job("work", {})], connection=asyncpg_connection) == 1
        # Outside of a transaction the tenant is gone before the insert: refused, and nothing is written.
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await queue.enqueue("work", connection=asyncpg_connection)
        await asyncpg_connection.close()
        async with await psycopg.AsyncConnection.connect(str(settings.url)) as connection:
            await queue.enqueue("work", connection=connection)
        assert await queue.count_jobs() == {
            JobStatus.PENDING: 1 + 20 + 1500 + 1 + 3 + 2 + 1, JobStatus.RUNNING: 0, JobStatus.COMPLETED: 0,
            JobStatus.FAILED: 0, JobStatus.CANCELLED: 0,
        }  # fmt: skip
    assert await _tenants_in(admin) == ["acme"]


# -- through a pooler --------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
async def test_two_tenants_in_turn_through_a_pooler_never_see_each_other(
    walled: Guarded, through_pooler: Callable[[str], str], admin: SQL
) -> None:
    settings = _pooled(through_pooler("api"))
    made: dict[str, list[UUID]] = {"acme": [], "bolt": []}
    foreign: list[object] = []

    async def request(queue: JobQueue, number: int) -> None:
        own, others = made[str(queue.tenant)], made["bolt" if queue.tenant == "acme" else "acme"]
        match number % 5:
            case 0:
                result = await queue.enqueue("work", {"of": queue.tenant}, unique_key=f"key {number}")
                own.append(result.id)
            case 1:
                job = await queue.get_job(own[number % len(own)]) if own else None
                assert job is None or job.tenant == queue.tenant
                assert job is not None or not own
            case 2 if others:
                foreign.append(await queue.get_job(others[number % len(others)]))
            case 3:
                page = await queue.list_jobs(limit=5)
                foreign.extend(job for job in page.jobs if job.tenant != queue.tenant)
            case _ if others:
                try:
                    foreign.append(await queue.cancel(others[number % len(others)]))
                except JobNotFoundError:
                    foreign.append(None)
            case _:
                pass

    async def requests(queue: JobQueue, numbers: Iterator[int]) -> None:
        for number in numbers:
            await request(queue, number)

    async with (
        JobQueue(settings=settings, tenant="acme") as acme,
        JobQueue(settings=settings, tenant="bolt") as bolt,
    ):
        turns = {queue: iter(range(REQUESTS)) for queue in (acme, bolt)}
        await asyncio.gather(
            *(requests(queue, turn) for queue, turn in turns.items() for _ in range(AT_ONCE))
        )

    rows = await admin.fetch(
        "SELECT tenant, count(*) AS jobs, count(*) FILTER (WHERE payload ->> 'of' <> tenant) AS wrong, "
        "count(*) FILTER (WHERE status <> 'pending') AS touched FROM control_plane.jobs GROUP BY tenant ORDER BY tenant"
    )
    assert [tuple(row) for row in rows] == [("acme", REQUESTS // 5, 0, 0), ("bolt", REQUESTS // 5, 0, 0)]
    assert [row for row in foreign if row is not None] == []
    assert len(foreign) > REQUESTS / 2, "they did ask for each other's jobs"


@pytest.mark.parametrize("through_pooler", [1], indirect=True)
@pytest.mark.parametrize("trouble", ["none", "an error", "a cancelled call", "a timeout"])
async def test_no_tenant_is_left_on_a_pooled_connection_after(
    walled: Guarded, through_pooler: Callable[[str], str], admin: SQL, trouble: str
) -> None:
    url = through_pooler("api")
    mine = await make_job(admin, tenant="acme")
    settings = _pooled(url, statement_timeout=0.5 if trouble == "a timeout" else 30, patience=0)
    stranger = await asyncpg.connect(url, statement_cache_size=0)
    async with JobQueue(settings=settings, tenant="acme") as acme:
        assert await acme.get_job(mine) is not None
        await _make(trouble, acme, mine, admin)

        assert await stranger.fetchval("SELECT count(*) FROM control_plane.jobs") == 0
        assert not await stranger.fetchval("SELECT current_setting('jobplane.tenant', true)")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await stranger.execute("INSERT INTO control_plane.jobs (type, tenant) VALUES ('work', 'acme')")
        assert await acme.get_job(mine) is not None, "and the client goes on"
    await stranger.close()


@pytest.mark.parametrize("through_pooler", [1], indirect=True)
async def test_no_tenant_is_left_by_the_synchronous_client(
    walled: Guarded, through_pooler: Callable[[str], str], admin: SQL
) -> None:
    url = through_pooler("api")
    mine, theirs = await make_job(admin, tenant="acme"), await make_job(admin, tenant="bolt")

    def use() -> None:
        with (
            SyncJobQueue(settings=_pooled(url), tenant="acme") as acme,
            SyncJobQueue(settings=_pooled(url), tenant="bolt") as bolt,
        ):
            for _ in range(8):  # more often than psycopg takes to prepare a statement
                assert acme.get_job(mine) is not None
                assert bolt.get_job(mine) is None
                with pytest.raises(JobNotFoundError):
                    acme.cancel(theirs)

    await asyncio.to_thread(use)

    stranger = await asyncpg.connect(url, statement_cache_size=0)
    assert await stranger.fetchval("SELECT count(*) FROM control_plane.jobs") == 0
    await stranger.close()


# -- switching it ----------------------------------------------------------------------------------------------------


async def test_row_security_needs_the_roles_first(database_url: str) -> None:
    with pytest.raises(SchemaError, match="run jobplane roles apply --prefix nobody_has_this_ first"):
        await tenants.enable(DatabaseSettings(url=database_url), "nobody_has_this_")

    assert not (await tenants.status(DatabaseSettings(url=database_url))).enabled


async def test_the_commands_switch_it_on_and_off(guarded: Guarded, admin: SQL) -> None:
    await make_job(admin, tenant="acme")
    await make_job(admin)
    url = guarded.url_of("migrator")
    async with JobQueue(settings=guarded.settings("api")) as queue:
        assert len((await queue.list_jobs()).jobs) == 2
        for _ in range(2):
            code, said = await _jobplane("enable", "--prefix", guarded.prefix, url=url)
            assert (code, "row security is on" in said) == (0, True), said
        assert (await queue.list_jobs()).jobs == ()
        code, said = await _jobplane("status", url=url)
        assert code == 0
        assert f"{guarded.role('owner')}, {guarded.role('worker')}" in said
        assert "1 unfinished jobs have no tenant" in said
        # What changes roles and schemas goes on under row security.
        await roles.apply(guarded.admin, guarded.prefix)
        for _ in range(2):
            code, said = await _jobplane("disable", url=url)
            assert (code, "row security is off" in said) == (0, True), said
        assert len((await queue.list_jobs()).jobs) == 2


async def test_the_migrations_go_down_and_up_under_row_security(walled: Guarded, admin: SQL) -> None:
    await make_job(admin, tenant="acme")
    migrator = Migrator(walled.settings("migrator"))

    await migrator.down(9)
    await migrator.up()

    assert not (await tenants.status(walled.admin)).enabled
    await admin.reload_schema_state()
    assert await admin.fetchval("SELECT count(*) FROM control_plane.jobs") == 1


# -- helpers ----------------------------------------------------------------------------------------------------------


def _client(guarded: Guarded, tenant: str) -> JobQueue:
    return JobQueue(settings=guarded.settings("api", row_security=True), tenant=tenant)


def _pooled(url: str, **explicit: object) -> DatabaseSettings:
    return resolve(
        DatabaseSettings, {}, url=url, prepared_statements=False, row_security=True, **explicit
    ).settings


async def _make(trouble: str, acme: JobQueue, mine: UUID, admin: SQL) -> None:
    if trouble == "an error":
        with pytest.raises(StatementError):
            await acme._run(_wrong_statement())
        return
    if trouble == "none":
        return
    lock = admin.transaction()
    await lock.start()
    await admin.execute("LOCK TABLE control_plane.jobs IN ACCESS EXCLUSIVE MODE")
    call = asyncio.create_task(acme.get_job(mine))
    if trouble == "a cancelled call":
        await until(lambda: _someone_waits(admin))
        call.cancel()
    with pytest.raises((asyncio.CancelledError, DatabaseError)):
        await call
    await lock.rollback()


def _wrong_statement() -> Steps[None]:
    # The tenant is set, then the statement fails: a job cannot have this many attempts.
    yield Query("job/retry", {"id": str(UUID(int=1)), "extra_attempts": 2**40})


async def _tenants_in(sql: SQL) -> list[str | None]:
    rows = await sql.fetch("SELECT DISTINCT tenant FROM control_plane.jobs ORDER BY tenant")
    return [row["tenant"] for row in rows]


async def _someone_waits(admin: SQL) -> bool:
    waiting: bool = await admin.fetchval(
        # Of this database alone: a table has the same oid in every database that was cloned from the template.
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'control_plane.jobs'::regclass "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
    )
    return waiting


async def _has_ended(admin: SQL, job_id: UUID) -> bool:
    return (await row_of(admin, job_id))["completed_at"] is not None


async def _jobplane(*args: str, url: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "jobplane",
        "tenants",
        *args,
        env={**os.environ, "DATABASE_URL": url, "COLUMNS": "300"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()
