"""The proof at the end of the demo: not what the jobs said they did, but what the server lets one do now."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from jobplane.cli.demo_ground import TAG, Ground, Server, as_someone
from jobplane.cli.demo_projects import Project
from jobplane.job import Job, JobStatus
from jobplane.settings import DatabaseSettings
from jobplane.store.connecting import connect
from jobplane.store.failures import sqlstate_of

AT_ONCE: Final = 4
BAD_LOGIN: Final = "28P01"
NO_PRIVILEGE: Final = "42501"


@dataclass(frozen=True, slots=True)
class Finding:
    """How often something that should hold was found to hold."""

    holds: int
    of: int
    sentence: str

    @property
    def ok(self) -> bool:
        """Whether it held everywhere."""
        return self.holds == self.of

    def __str__(self) -> str:
        return f"proof: {self.holds} of {self.of} {self.sentence}"


@dataclass(frozen=True, slots=True)
class Provisioned:
    """A project whose job completed, and what it answered."""

    project: Project
    role: str
    database: str
    password: str
    api_key: str


async def prove(
    ground: Ground, projects: Sequence[Project], jobs: Mapping[str, Job], worker_log: str
) -> list[Finding]:
    """Try everything that was promised."""
    server = ground.server
    made = [
        found
        for project in projects
        if (found := _provisioned(server.secrets, project, jobs[project.unique_key]))
    ]
    neighbours = [
        replace(other, database=each.database)
        for each, other in zip(made, made[1:] + made[:1], strict=True)
        if each is not other
    ]

    async def counted(
        check: Callable[[Provisioned], Awaitable[bool]], of: Sequence[Provisioned], sentence: str
    ) -> Finding:
        at_once = asyncio.Semaphore(AT_ONCE)

        async def one(each: Provisioned) -> bool:
            async with at_once:
                return await check(each)

        answers = await asyncio.gather(*(one(each) for each in of))
        return Finding(sum(answers), len(of), sentence)

    return [
        await counted(
            lambda each: _can_work(server, each),
            made,
            "roles log in to their own database with their password and write to their table",
        ),
        _unless_nobody_is_asked(
            await counted(
                lambda each: _is_refused(server, each, BAD_LOGIN),
                [replace(each, password=secrets.token_urlsafe(32)) for each in made],
                "roles are refused with a wrong password",
            )
        ),
        await counted(
            lambda each: _is_refused(server, each, NO_PRIVILEGE),
            neighbours,
            "roles are refused by their neighbour's database",
        ),
        await counted(
            lambda each: _has_key(ground, each), made, "API keys match the hash that alone is kept of them"
        ),
        await _nothing_of_failures(ground, projects, jobs),
        await _no_secret_told(ground, made, worker_log),
    ]


def _unless_nobody_is_asked(finding: Finding) -> Finding:
    # A wrong password lets in only where none is asked for: that is the server's own configuration, not our doing.
    if finding.of and not finding.holds:
        return Finding(0, 0, f"{finding.sentence}: this server asks nobody here for one (pg_hba.conf)")
    return finding


def _provisioned(vault: Path, project: Project, job: Job) -> Provisioned | None:
    match job.status, job.result:
        case JobStatus.COMPLETED, {"role": str() as role, "database": str() as database}:
            password = (vault / f"{role}.password").read_text("ascii")
            api_key = (vault / f"{role}.api_key").read_text("ascii")
            return Provisioned(project, role, database, password, api_key)
        case _:
            return None


async def _can_work(server: Server, each: Provisioned) -> bool:
    connection = await connect(_settings_as(server, each), application_name="jobplane demo proof")
    try:
        note = await connection.fetchrow(
            "INSERT INTO app.notes (body) VALUES ($1) RETURNING body, current_user AS who, "
            "current_database() AS place",
            each.project.name,
        )
        return note is not None and tuple(note) == (each.project.name, each.role, each.database)
    finally:
        await connection.close()


async def _is_refused(server: Server, each: Provisioned, state: str) -> bool:
    try:
        connection = await connect(_settings_as(server, each), application_name="jobplane demo proof")
    except Exception as error:
        if sqlstate_of(error) == state:
            return True
        raise
    await connection.close()
    return False


async def _has_key(ground: Ground, each: Provisioned) -> bool:
    async with ground.database.connection() as connection:
        kept = await connection.fetchval(
            "SELECT sha256 FROM control_plane_demo.api_keys WHERE project_id = $1", each.project.id
        )
        return bool(kept == hashlib.sha256(each.api_key.encode()).digest())


async def _nothing_of_failures(
    ground: Ground, projects: Sequence[Project], jobs: Mapping[str, Job]
) -> Finding:
    failed = [project.id.hex for project in projects if jobs[project.unique_key].status is JobStatus.FAILED]
    async with ground.database.connection() as connection:
        left = await connection.fetchval(
            "SELECT count(*) FROM pg_catalog.unnest($1::text[]) AS id WHERE EXISTS ("
            "SELECT FROM pg_roles WHERE position(id IN rolname) > 0) "
            "OR EXISTS (SELECT FROM pg_database WHERE position(id IN datname) > 0)",
            failed,
        )
    return Finding(len(failed) - left, len(failed), "projects that failed for good left nothing behind")


async def _no_secret_told(ground: Ground, made: Sequence[Provisioned], worker_log: str) -> Finding:
    """Neither a job's row, nor its failed attempts, nor a log of the workers contains a password or a key."""
    told = [secret for each in made for secret in (each.password, each.api_key)]
    async with ground.database.connection() as connection:
        query = await connection.fetchval(
            "SELECT pg_catalog.format('SELECT DISTINCT secret FROM pg_catalog.unnest($1::text[]) AS secret, %1$I.jobs AS job "
            "LEFT JOIN %1$I.job_attempts AS attempt ON attempt.job_id = job.id "
            "WHERE job.tags OPERATOR(pg_catalog.@>) ARRAY[%2$L] AND (position(secret IN job::text) > 0 "
            "OR position(secret IN attempt::text) > 0)', $1::text, $2::text)",
            ground.server.settings.schema,
            TAG,
        )
        stored = {str(row[0]) for row in await connection.fetch(query, told)}
    leaked = stored | {secret for secret in told if secret in worker_log}
    return Finding(
        len(told) - len(leaked),
        len(told),
        "passwords and keys are in no job, no result, no error and no log of the workers",
    )


def _settings_as(server: Server, each: Provisioned) -> DatabaseSettings:
    return replace(server.settings, url=as_someone(server.url, each.role, each.password, each.database))
