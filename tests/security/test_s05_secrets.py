"""S5: secrets stay where they were put. Strings that occur nowhere else go through everything, and are then looked for.

The strings: payload values, the password and user info of the database URL, what error messages carry in the forms that
are starred out (docs in jobplane.redaction), locals of handlers, settings. Through: success, failure, timeout, crash,
arguments that do not fit, outcomes that the database refuses; by real worker processes in both log formats at debug
level; and the commands. Looked for in: logs, stdout, stderr, every column of every table but payload and result,
pg_stat_activity, and the reprs of events, claims, wishes, jobs and settings.

Metrics, traces, lists of the HTTP API and pages of the dashboard will be added here when they exist. Payloads are not
encrypted at rest: SECURITY.md says so.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest
from pydantic import BaseModel

from jobplane import DatabaseSettings, JobContext, JobQueue, JobStatus, NewJob, Worker, new_job
from jobplane import events as all_events
from jobplane.errors import DatabaseError, InvalidArgumentsError, StatementError
from jobplane.events import Event, JobFinished, JobsClaimed
from jobplane.job import Claim
from jobplane.settings import WorkerSettings, resolve
from jobplane.store.failures import translated
from tests.cli.commands import Background, CommandLine, Ended, environment
from tests.factories import SQL, claim_of, make_job
from tests.support import Recorder, until

TASKS: Final = """
import asyncio
import os
from enum import Enum

import asyncpg
from pydantic import BaseModel

from jobplane import JobContext, JobQueue

queue = JobQueue()


class Colour(Enum):
    RED = "red"


class Account(BaseModel):
    name: str
    age: int


@queue.task(max_attempts=1)
async def succeed(ctx: JobContext, password: str, token: str) -> dict[str, str]:
    ctx.progress(0.5, "half way")
    ctx.logger.info("at work on %s", ctx.job.id)
    ctx.logger.debug("%r %r", ctx.job, ctx)
    return {"token": token}


@queue.task(max_attempts=1)
async def fail(password: str, token: str) -> None:
    local_password = {"password": password}
    try:
        raise KeyError(token)
    except KeyError as error:
        raise ConnectionError(
            f"POST https://api:{password}@api.example/v1?sig={token} answered 401 "
            f"(Authorization: Bearer {token}; api_key={token}) for {local_password}"
        ) from error


@queue.task(max_attempts=1)
def fail_in_thread(password: str, token: str) -> None:
    local_token = token
    raise ExceptionGroup("token=" + local_token, [ValueError(password)])


@queue.task(max_attempts=1)
async def time_out(password: str, token: str) -> None:
    local_token = token
    await asyncio.sleep(3600)
    print(local_token)


@queue.task(max_attempts=1)
async def crash(password: str, token: str) -> None:
    local_token = token
    os._exit(137 if local_token else 0)


@queue.task(max_attempts=1)
async def wants_colour(password: str, token: int, colour: Colour) -> None: ...


@queue.task(max_attempts=1)
async def wants_account(account: Account) -> None: ...


@queue.task(max_attempts=1)
async def break_a_constraint(password: str, token: str) -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    try:
        await connection.execute("CREATE TEMP TABLE accounts (name text, password text, CHECK (name <> 'taken'))")
        await connection.execute("INSERT INTO accounts VALUES ('taken', $1)", password)
    finally:
        await connection.close()


@queue.task(max_attempts=1)
async def refused(password: str, token: str) -> dict[str, str]:
    return {"refused": token}
"""
BOTH: Final = ("succeed", "fail", "fail_in_thread", "time_out", "break_a_constraint", "refused")


class Account(BaseModel):
    """An argument that pydantic checks."""

    name: str
    age: int


@dataclass(frozen=True, slots=True)
class Canaries:
    """What must not be found, by the place where it was put."""

    payload: str
    token: str
    database: str

    def found_in(self, text: str) -> list[str]:
        """Those that are in a text, with what stands around them."""
        return [
            f"{text[max(0, text.index(one) - 100) : text.index(one) + 50]!r}"
            for one in (self.payload, self.token, self.database)
            if one in text
        ]


@pytest.fixture
def canaries() -> Canaries:
    """Strings that occur nowhere else."""
    return Canaries(*(f"c4nary-{name}-{secrets.token_hex(8)}" for name in ("payload", "token", "database")))


@pytest.fixture
async def secret_url(database_url: str, sql: SQL, canaries: Canaries) -> AsyncIterator[str]:
    """The test's database, for a role whose password is a canary."""
    role = f"canary_{secrets.token_hex(6)}"
    await sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{canaries.database}'")
    await sql.execute(f"GRANT ALL ON SCHEMA control_plane TO {role}")
    await sql.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA control_plane TO {role}")
    parts = urlsplit(database_url)
    yield urlunsplit(parts._replace(netloc=f"{role}:{canaries.database}@{parts.hostname}:{parts.port}"))
    await sql.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")
    await sql.execute(f"DROP OWNED BY {role}")
    await sql.execute(f"DROP ROLE {role}")


async def _everything_stored(sql: SQL) -> str:
    """All rows of all our tables as text, without the two columns where payloads and results belong."""
    tables = await sql.fetch(
        "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'control_plane'::regnamespace AND relkind = 'r'"
    )
    assert len(tables) >= 5
    texts = []
    for (table,) in tables:
        rows = await sql.fetch(f"SELECT (to_jsonb(t) - 'payload' - 'result')::text FROM {table} AS t")
        texts += [row[0] for row in rows]
    return "\n".join(texts)


async def _queries(sql: SQL) -> str:
    rows = await sql.fetch(
        "SELECT to_jsonb(a)::text FROM pg_stat_activity AS a WHERE pid <> pg_backend_pid()"
    )
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_canary_leaves_payload_and_result(
    cli: CommandLine,
    start_worker: Callable[..., Background],
    queue: JobQueue,
    sql: SQL,
    canaries: Canaries,
    secret_url: str,
    log_format: str,
) -> None:
    (cli.folder / "vault.py").write_text(TASKS, encoding="utf-8")
    # A constraint of the user's own, which PostgreSQL refuses by quoting the whole row.
    await sql.execute("ALTER TABLE control_plane.jobs ADD CHECK (result ->> 'refused' IS NULL)")
    variables = {"DATABASE_URL": secret_url, "JOBPLANE_TIMEOUT": "1", "JOBPLANE_LEASE": "2", "JOBPLANE_HEARTBEAT_INTERVAL": "0.4",
                 "JOBPLANE_SWEEP_INTERVAL": "0.3", "JOBPLANE_POLL_INTERVAL": "0.2", "PYTHONPATH": str(cli.folder)}  # fmt: skip
    arguments = ("vault", "--log-format", log_format, "--log-level", "debug")
    payload = {"password": canaries.payload, "token": canaries.token}
    odd = {**payload, "colour": canaries.payload}
    account = {"account": {"name": [canaries.payload], "age": canaries.token}}
    workers = [start_worker(*arguments, **variables)]

    made = [await queue.enqueue(job_type, payload, max_attempts=1) for job_type in (*BOTH, "wants_colour")]
    made.append(await queue.enqueue("wants_colour", {**odd, "token": 1}, max_attempts=1))
    made.append(await queue.enqueue("wants_account", account, max_attempts=1))
    queries = await _queries(sql)
    jobs = [await queue.wait(one.id, 30) for one in made]
    crashing = await queue.enqueue("crash", payload, max_attempts=1)
    await until(lambda: _ended(workers[0]))
    workers.append(start_worker(*arguments, **variables))
    jobs.append(await queue.wait(crashing.id, 30))
    queries += await _queries(sql)
    commands = [
        await cli.run(*command, **variables)
        for command in (
            ["jobs", "list"], ["jobs", "list", "--json"], ["queues", "list"], ["workers", "list"], ["doctor"], ["doctor", "--json"],
            ["migrate", "status"], *(["jobs", "show", str(job.id)] for job in jobs), ["jobs", "show", str(jobs[1].id), "--json"],
        )
    ]  # fmt: skip
    commands.append(await cli.process("jobs", "list", "--json", **variables))  # what else a process says
    await workers[1].stop()
    logs = "\n".join(line for worker in workers for line in worker.lines())

    by_type = {job.type: job for job in jobs}
    assert {job.type for job in jobs if job.status is JobStatus.COMPLETED} == {"succeed", "refused"}
    assert {job.status for job in jobs} == {JobStatus.COMPLETED, JobStatus.FAILED}
    assert canaries.token in str(by_type["succeed"].result), "the payload really came through"
    assert "POST https://***@api.example/v1?sig=*** answered 401 (Authorization: Bearer ***" in str(
        by_type["fail"].last_error
    )
    assert str(by_type["refused"].last_error).startswith("result not stored: job/finish: new row")
    assert "CheckViolationError" in str(by_type["break_a_constraint"].last_error)
    assert "Input should be a valid string" in str(by_type["wants_account"].last_error)
    assert "lease lost" in str(by_type["crash"].last_error)
    for kind in ("succeed", "fail", "time_out"):
        assert kind in logs
    places = {"logs": logs, "tables": await _everything_stored(sql), "pg_stat_activity": queries}
    for name, text in places.items():
        assert canaries.found_in(text) == [], name
    for ended in commands:
        assert canaries.found_in(ended.out + ended.err) == []


async def _ended(worker: Background) -> bool:
    return worker.process.poll() is not None


async def test_commands_that_fail_print_no_password_and_no_payload(
    cli: CommandLine, secret_url: str, canaries: Canaries
) -> None:
    (cli.folder / "vault.py").write_text(TASKS, encoding="utf-8")
    secret = canaries.database
    wrong = secret_url.replace(f":{secret}@", f":{secret}x@")
    urls = [wrong, f"postgresql://app:{secret}@127.0.0.1:1/x", f"postgresql://app:{secret}", f"app:{secret}@127.0.0.1/x",
            f"postgresql://app:{secret}/@127.0.0.1/x", f"host=127.0.0.1 password='{secret} {secret}'", f"mysql://app:{secret}@h/x",
            f"postgresql://app:{secret}@[::1/x", f"postgresql://h/x?password={secret}&sslpassword={secret}&port=abc",
            f"postgresql://app:{secret}@127.0.0.1:port/x", f"postgresql://app:%zz{secret}@127.0.0.1:1/x"]  # fmt: skip
    ended: list[Ended] = []

    for url in urls:
        short = {"DATABASE_URL": url, "JOBPLANE_PATIENCE": "0", "JOBPLANE_CONNECT_TIMEOUT": "1"}
        ended += [
            await cli.run(*command, **short)
            for command in (["doctor"], ["jobs", "list"], ["doctor", "--json"])
        ]
        ended += [
            await cli.run(
                "jobs", "list", "--database-url", url, JOBPLANE_PATIENCE="0", JOBPLANE_CONNECT_TIMEOUT="1"
            )
        ]
    ended.append(await cli.process("worker", "vault", DATABASE_URL=wrong, PYTHONPATH=str(cli.folder)))
    ended.append(await cli.process("worker", "vault", DATABASE_URL=urls[5], PYTHONPATH=str(cli.folder)))
    parts = {
        "DATABASE_URL": "",
        "AUDIT_LOGS_DB_HOST": "127.0.0.1",
        "AUDIT_LOGS_DB_PORT": "1",
        "AUDIT_LOGS_DB_PASSWORD": secret,
    }
    ended.append(await cli.run("doctor", **parts, JOBPLANE_CONNECT_TIMEOUT="1"))
    ended += [
        await cli.run("enqueue", "work", text)
        for text in (f'{{"a": "{secret}"', f'["{secret}"]', f'{{"a": "{secret}\\u0000"}}')
    ]

    assert all(one.code != 0 for one in ended)
    for one in ended:
        assert canaries.found_in(one.out + one.err) == []


async def test_nothing_that_is_printed_shows_a_payload_a_result_a_message_or_a_password(
    queue: JobQueue, make_worker: Callable[..., Worker], sql: SQL, canaries: Canaries
) -> None:
    @queue.task(max_attempts=1)
    async def work(ctx: JobContext, token: str, *, fails: bool = False) -> str:
        ctx.progress(0.1, "begun")
        if fails:
            raise ValueError(f"no {token}")
        return token

    made = [await work.enqueue(canaries.token), await work.enqueue(canaries.token, fails=True)]
    worker = make_worker(queue)
    kinds = [kind for kind in vars(all_events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    recorder = Recorder(worker.events, *kinds)

    async with worker:
        jobs = [await queue.wait(one.id, 10) for one in made]

    assert recorder.of(JobsClaimed)
    assert len(recorder.of(JobFinished)) == 2
    wish = work.new(canaries.token)
    claim = await claim_of(sql, await make_job(sql, JobStatus.RUNNING, payload={"token": canaries.token}))
    database = DatabaseSettings(url=f"postgresql://app:{canaries.database}@h/x", password=canaries.database)
    printed = [*recorder.seen, wish, claim, *made, database, resolve(DatabaseSettings, {}, password=canaries.database),
               queue, worker, work, replace(jobs[0], last_error=None)]  # fmt: skip
    for value in printed:
        for text in (repr(value), str(value), f"{[value]!r}"):
            assert canaries.found_in(text) == []
    assert isinstance(wish, NewJob)
    assert isinstance(claim, Claim)
    assert jobs[1].last_error == f"ValueError: no {canaries.token}", (
        "a bare word has no form to tell it by: SECURITY.md says so"
    )


async def test_errors_of_the_clients_hold_neither_rows_nor_payloads(
    queue: JobQueue, sql: SQL, canaries: Canaries
) -> None:
    await sql.execute("ALTER TABLE control_plane.jobs ADD CHECK (payload ->> 'token' IS NULL)")
    payload = {"token": canaries.token}

    with pytest.raises(StatementError) as caught:
        await queue.enqueue("work", payload)
    with queue.sync as client, pytest.raises(StatementError) as caught_in_sync:
        client.enqueue("work", payload)
    with pytest.raises(StatementError) as caught_in_copy:
        await queue.enqueue_many([new_job("work", payload)])

    for error in (caught.value, caught_in_sync.value, caught_in_copy.value):
        assert "violates check constraint" in str(error)
        assert canaries.found_in(f"{error} {error!r}") == []


async def test_a_hint_of_the_server_is_kept_and_its_detail_is_not(sql: SQL, canaries: Canaries) -> None:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await sql.execute(
            f"DO $$ BEGIN RAISE 'no' USING DETAIL = '{canaries.token}', HINT = 'do this'; END $$"
        )

    told = translated(caught.value, "trying")

    assert canaries.token in str(caught.value)
    assert isinstance(told, DatabaseError)
    assert str(told) == "trying: no\nHINT:  do this (SQLSTATE P0001)"


async def test_what_does_not_fit_is_named_by_its_place_and_not_by_its_value(
    queue: JobQueue, canaries: Canaries
) -> None:
    @queue.task
    async def greet(account: Account) -> None: ...

    with pytest.raises(InvalidArgumentsError) as caught:
        greet.arguments.decode(
            f'{{"account": {{"name": ["{canaries.payload}"], "age": "{canaries.token}"}}}}'
        )

    assert "name: Input should be a valid string" in str(caught.value)
    assert canaries.found_in(str(caught.value)) == []


async def test_worker_settings_hold_no_secret(canaries: Canaries) -> None:
    assert canaries.found_in(repr(resolve(WorkerSettings, environment(SECRET=canaries.token)))) == []
