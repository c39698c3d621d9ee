"""S9: what someone else may create in a schema of the search path is used by no statement, command or session of ours.

The traps of tests.security.traps stand in front even of pg_catalog, by a setting of the database: an operator for each
pair of types, functions of the signatures of PostgreSQL's own, types, and relations of the catalogue.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import asyncpg
import pytest
from msgspec.structs import replace as replace_struct

from jobplane import (
    DatabaseSettings,
    JobContext,
    JobQueue,
    JobStatus,
    NewJob,
    Retry,
    Snooze,
    SyncJobQueue,
    Worker,
    new_job,
)
from jobplane.cli.export import statements
from jobplane.ids import new_job_id
from jobplane.settings import WorkerSettings, resolve
from jobplane.store import roles, tenants
from jobplane.store.database import Database
from jobplane.store.history import HistoryStore
from jobplane.store.migrator import Migrator
from tests.cli.commands import CommandLine
from tests.conftest import TEST_PROFILE
from tests.factories import SQL, make_job
from tests.security.logins import drop_roles
from tests.security.traps import BEHIND_THE_CATALOGUE, PATH, caught, set_traps
from tests.store.callers import ASYNC, SYNC
from tests.support import on_database, until

COMMANDS: Final = (
    "history on",
    "migrate status",
    "roles show --prefix {prefix}",
    "doctor",
    "jobs list",
    "jobs list --status failed --type work --queue default --tag t",
    "queues list",
    "queues limit q 3",
    "queues pause q",
    "queues resume q",
    "workers list",
    "schedules list",
    "history status",
    "verify",
    "tenants status",
    "enqueue work {{}} --unique-key by-command",
    "tenants disable",
    "history off",
)


@dataclass(frozen=True)
class Trapped:
    """A migrated database full of traps, with the roles."""

    url: str
    safe_url: str
    """The same with a path of its own: for the test's own statements."""
    prefix: str

    @property
    def settings(self) -> DatabaseSettings:
        """As the superuser."""
        return resolve(DatabaseSettings, {}, url=self.url).settings

    def settings_of(self, purpose: str) -> DatabaseSettings:
        """As a login that is a member of that role alone."""
        url = self.url.replace("//", f"//{self.prefix}{purpose}_login:p@", 1)
        head, _, tail = url.partition("@")
        return resolve(
            DatabaseSettings, {}, url=f"{head}@{tail.rpartition('@')[2] if '@' in tail else tail}"
        ).settings


@pytest.fixture(scope="module")
def traps(server_url: str) -> Iterator[str]:
    """The name of a database that holds the traps and nothing else: to be cloned."""
    name = f"jobplane_traps_{secrets.token_hex(4)}"

    async def make() -> None:
        await _administer(server_url, f'CREATE DATABASE "{name}" TEMPLATE template0')
        sql = await asyncpg.connect(on_database(server_url, name))
        await set_traps(sql)
        await sql.close()

    asyncio.run(make())
    yield name
    asyncio.run(_administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
async def trapped(server_url: str, traps: str) -> AsyncIterator[Trapped]:
    """A database of the test's own, migrated and with roles under the eyes of the traps."""
    name, prefix = f"jobplane_test_{secrets.token_hex(6)}", f"t{secrets.token_hex(4)}_"
    url = on_database(server_url, name)
    made = Trapped(url, f"{url}?search_path=pg_catalog", prefix)
    await _administer(
        server_url,
        f'CREATE DATABASE "{name}" TEMPLATE "{traps}"',
        f'ALTER DATABASE "{name}" SET search_path = {PATH}',
    )
    try:
        await Migrator(made.settings).up()
        await roles.apply(made.settings, prefix)
        for purpose in ("worker", "api"):
            await _administer(
                server_url,
                f"CREATE ROLE {prefix}{purpose}_login LOGIN PASSWORD 'p'",
                f"GRANT {prefix}{purpose} TO {prefix}{purpose}_login",
            )
        yield made
    finally:
        await _administer(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')
        await drop_roles(server_url, prefix)


@pytest.fixture
async def watching(trapped: Trapped) -> AsyncIterator[SQL]:
    """A session that does not step into them."""
    sql = await asyncpg.connect(trapped.safe_url)
    yield sql
    await sql.close()


async def test_the_traps_work(trapped: Trapped, watching: SQL) -> None:
    bare = await asyncpg.connect(trapped.url)

    for statement in (
        "SELECT 'a'::pg_catalog.name = 'b'::pg_catalog.name",
        "SELECT 2 * pg_catalog.make_interval(secs => 1)",
        "SELECT now()",
        "SELECT 'a'::text",
        "SELECT relname FROM pg_class LIMIT 1",
    ):
        await bare.fetch(statement)
    await bare.close()

    assert len(await caught(watching)) >= 5


async def test_migrations_roles_and_commands_use_nobody_elses_objects(
    trapped: Trapped, watching: SQL, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """As the operator's superuser."""
    cli = CommandLine(trapped.url, tmp_path_factory.mktemp("cli"))
    await make_job(watching, JobStatus.FAILED, tags=["t"])
    await make_job(watching, JobStatus.PENDING)

    await tenants.enable(trapped.settings, trapped.prefix)
    for command in COMMANDS:
        ended = await cli.run(*command.format(prefix=trapped.prefix).split())
        assert ended.code in (0, 1), (command, ended)
        assert await caught(watching) == [], command
    printed = [await cli.run("migrate", "sql", JOBPLANE_SCHEMA="other"), await cli.run("roles", "sql")]
    tool = await asyncpg.connect(trapped.url)
    for script in printed:
        await tool.execute("RESET search_path")
        for statement in statements(script.out):
            await tool.execute(statement)
    await tool.close()
    await Migrator(trapped.settings).down(0)

    assert await caught(watching) == []


async def test_workers_and_clients_use_nobody_elses_objects(trapped: Trapped, watching: SQL) -> None:
    """As the roles that workers and clients are given, and as the tables' owner in their functions."""
    owner = Database(trapped.settings)
    await HistoryStore(owner).on()
    await owner.close()
    queue = JobQueue(settings=trapped.settings_of("api"))

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

    old = await make_job(watching, JobStatus.COMPLETED)
    await watching.execute(
        "UPDATE control_plane.jobs SET scheduled_at = '2020-01-01', completed_at = '2020-01-01' WHERE id = $1",
        old,
    )
    await make_job(watching, JobStatus.RUNNING, type="other", attempts=1)
    await watching.execute(
        "UPDATE control_plane.jobs SET lease_expires_at = '2020-01-01' WHERE type = 'other'"
    )
    made = [await work.enqueue(what) for what in ("", "retry", "snooze", "fail")]
    made.append(await work.with_options(unique_key="k", tags=["t"]).enqueue())
    assert (await work.with_options(unique_key="k").enqueue()).existing
    made.append(await work.with_options(queue="narrow").enqueue())
    await queue.enqueue_many([work.new() for _ in range(3)])
    await queue.limit_queue("narrow", 1)
    await queue.create_schedule("pulse", "@every 1s", "work", {})
    await asyncio.to_thread(_use_the_synchronous_client, trapped)
    chosen = resolve(
        WorkerSettings, {}, **{**TEST_PROFILE, "queues": "default:5,narrow:2", "grace": 5}
    ).settings
    worker = Worker(queue, database=trapped.settings_of("worker"), settings=chosen)
    async with worker:
        for one in made:
            await queue.wait(one.id, 20)
        await queue.retry(made[0].id, extra_attempts=1)
        await queue.wait(made[0].id, 20)
        waiting = await queue.enqueue("work", {}, delay=60)
        await queue.cancel(waiting.id)
        await queue.list_jobs(tag="t", status="completed", type="work", queue="default")
        await queue.list_queues()
        await queue.list_workers()
        await queue.list_unclaimable()
        await queue.list_schedules()
        await queue.count_jobs()
        await queue.list_attempts(made[1].id)
        await until(lambda: _all_maintained(watching, old))
    await queue.close()

    assert await caught(watching) == []


@pytest.mark.parametrize("kind", [*ASYNC, *SYNC])
async def test_on_a_callers_connection_its_search_path_is_not_asked(
    trapped: Trapped, watching: SQL, kind: str
) -> None:
    """A session of a caller's is not ours to set up, so the statements name what they use."""
    settings = replace(trapped.settings, row_security=True)
    jobs = [new_job("work", {"n": 1}), new_job("work", {}, {"unique_key": "k", "tags": ["t"], "delay": 1})]
    keyed = new_job("work", {}, {"idempotency_key": "i", "priority": 3})
    if not kind.startswith("psycopg"):
        # asyncpg and SQLAlchemy ask the catalogue about types in words of their own, which fail in front of the traps.
        await watching.execute(
            f"ALTER DATABASE {trapped.url.rpartition('/')[2]} SET search_path = {BEHIND_THE_CATALOGUE}"
        )

    if kind in ASYNC:
        for tenant in (None, "acme"):
            async with (
                ASYNC[kind](trapped.url) as caller,
                JobQueue(settings=settings, tenant=tenant) as queue,
            ):
                for job in (*jobs, keyed):
                    made = await queue.enqueue_new(
                        _of(job, tenant), connection=caller.connection, notify=True
                    )
                    assert (
                        await queue.enqueue_new(
                            replace_struct(_of(job, tenant), id=made.id), connection=caller.connection
                        )
                    ).existing
                    assert await queue.get_job(made.id, connection=caller.connection) is not None
                many = [new_job("work", {}, {"tags": ["t"]}) for _ in range(3)]
                assert await queue.enqueue_many(many, connection=caller.connection, notify=True) == 3
                await caller.commit()
    else:
        await asyncio.to_thread(_enqueue_with_a_synchronous_caller, trapped, kind, [*jobs, keyed])

    # asyncpg's own look at the types of parameters is an inexact one, on any connection of any program.
    assert [what for what in await caught(watching) if "typeinfo_tree" not in what] == []


async def _administer(server_url: str, *statements: str) -> None:
    connection = await asyncpg.connect(server_url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def _of(job: NewJob, tenant: str | None) -> NewJob:
    return replace_struct(job, id=new_job_id(), tenant=tenant)


def _use_the_synchronous_client(trapped: Trapped) -> None:
    with SyncJobQueue(settings=trapped.settings_of("api")) as queue:
        first = queue.enqueue("work", {}, unique_key="of the synchronous client", delay=60)
        assert queue.enqueue("work", {}, unique_key="of the synchronous client").existing
        queue.enqueue_many(new_job("work", {}) for _ in range(3))
        assert queue.get_job(first.id) is not None
        queue.cancel(first.id)
        queue.retry(first.id, extra_attempts=1)
        queue.list_jobs(tag="t", status="completed")
        queue.list_queues()
        queue.list_unclaimable()
        queue.count_jobs()


def _enqueue_with_a_synchronous_caller(trapped: Trapped, kind: str, jobs: list[NewJob]) -> None:
    settings = replace(trapped.settings, row_security=True)
    for tenant in (None, "acme"):
        with SYNC[kind](trapped.url) as caller, SyncJobQueue(settings=settings, tenant=tenant) as queue:
            for job in jobs:
                made = queue.enqueue_new(_of(job, tenant), connection=caller.connection, notify=True)
                again = replace_struct(_of(job, tenant), id=made.id)
                assert queue.enqueue_new(again, connection=caller.connection).existing
            caller.commit()


async def _all_maintained(watching: SQL, old: UUID) -> bool:
    """The workers' duties have come to it: the old job is pruned, the dead worker's job taken back, a tick made."""
    return bool(
        await watching.fetchval(
            "SELECT NOT EXISTS (SELECT FROM control_plane.jobs WHERE id = $1) "
            "AND NOT EXISTS (SELECT FROM control_plane.jobs WHERE type = 'other' AND status = 'running') "
            "AND EXISTS (SELECT FROM control_plane.schedule_ticks)",
            old,
        )
    )
