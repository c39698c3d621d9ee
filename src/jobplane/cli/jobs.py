"""`jobplane jobs`: look at jobs, run them again, stop them, wait for them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias
from uuid import UUID

import typer

from jobplane.cli.failures import ExitCode, complain, exit_code_of, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, required_database
from jobplane.cli.output import Column, print_facts, print_json, print_table
from jobplane.cli.present import (
    attempt_document,
    attempt_lines,
    job_document,
    moment,
    progress_of,
    status_of,
    when_of,
)
from jobplane.cli.waiting import conclude, wait_for
from jobplane.client.info import CancelResult, JobPage
from jobplane.client.queue import JobQueue
from jobplane.errors import AttemptsExhaustedError, JobNotFoundError, JobplaneError
from jobplane.job import Attempt, Job, JobStatus

jobs = typer.Typer(help="Show, retry, cancel and await jobs.", no_args_is_help=True)

JobId: TypeAlias = Annotated[UUID, typer.Argument(metavar="ID", help="The job.", show_default=False)]
JobIds: TypeAlias = Annotated[list[UUID], typer.Argument(metavar="ID", help="The jobs.", show_default=False)]


@jobs.command("list")
def list_jobs(  # noqa: PLR0913 - each filter is an option
    *,
    status: Annotated[JobStatus | None, typer.Option(help="Only these.", show_default=False)] = None,
    job_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Only this type.", show_default=False)
    ] = None,
    queue: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this queue.", show_default=False)
    ] = None,
    tag: Annotated[
        str | None, typer.Option(metavar="TAG", help="Only with this tag.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="At most so many, 1 to 100.")] = 25,
    cursor: Annotated[
        str | None,
        typer.Option(metavar="CURSOR", help="Go on where the last page ended.", show_default=False),
    ] = None,
    database_url: DatabaseURL = None,
    schema: Schema = None,
    as_json: AsJSON = False,
) -> None:
    """Show jobs, newest first, a page at a time."""

    async def command() -> JobPage:
        async with JobQueue(settings=required_database(database_url, schema)) as client:
            page = JobPage((), cursor)
            # A page may be short in a big table; whoever sits here would rather wait than ask again.
            while not page.jobs:
                page = await client.list_jobs(
                    status=status, type=job_type, queue=queue, tag=tag, cursor=page.next_cursor, limit=limit
                )
                if page.next_cursor is None:
                    break
            return page

    page = run_async(command())
    if as_json:
        print_json({"jobs": [job_document(job) for job in page.jobs], "next_cursor": page.next_cursor})
        return
    print_table(
        (
            "id",
            Column("type", room=20),
            "status",
            Column("tries", number=True),
            Column("queue", room=15, optional=True),
            Column("prio", number=True, optional=True),
            "when",
            Column("last error", room=10, optional=True),
        ),
        [
            (
                job.id,
                job.type,
                status_of(job),
                f"{job.attempts}/{job.max_attempts}",
                job.queue,
                job.priority,
                when_of(job),
                job.last_error,
            )
            for job in page.jobs
        ],
        "no jobs",
    )
    if page.next_cursor:
        typer.echo(f"more with --cursor {page.next_cursor}", err=True)


@jobs.command()
def show(
    job_id: JobId,
    *,
    payload: Annotated[
        bool, typer.Option("--payload", help="Also what the handler was given and what it returned.")
    ] = False,
    database_url: DatabaseURL = None,
    schema: Schema = None,
    as_json: AsJSON = False,
) -> None:
    """Show everything about a job, with its failed attempts and where they failed."""

    async def command() -> tuple[Job, list[Attempt]]:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            job = await queue.get_job(job_id)
            if job is None:
                raise JobNotFoundError(f"there is no job {job_id} (it may have been pruned)")
            return job, await queue.list_attempts(job_id)

    job, attempts = run_async(command())
    if as_json:
        history = {"attempt_history": [attempt_document(attempt) for attempt in attempts]}
        print_json(job_document(job, payload=payload) | history)
        return
    fraction, message = progress_of(job.progress)
    facts: list[tuple[str, object]] = [
        ("id", job.id),
        ("type", job.type),
        ("status", status_of(job)),
        ("queue", f"{job.queue}, priority {job.priority}"),
        ("attempts", f"{job.attempts} of {job.max_attempts}"),
        ("created", moment(job.created_at)),
        ("due", moment(job.scheduled_at)),
        ("started", moment(job.started_at)),
        ("ended", moment(job.completed_at)),
        ("stop asked for", moment(job.cancel_requested_at)),
        ("worker", job.worker_id),
        (
            "lease",
            f"epoch {job.lease_epoch}"
            + (f", until {moment(job.lease_expires_at)}" if job.lease_expires_at else ""),
        ),
        ("unique key", job.unique_key),
        ("tenant", job.tenant),
        ("tags", ", ".join(job.tags) or None),
        ("progress", None if fraction is None else f"{fraction:.0%} {message}".strip()),
        ("last error", job.last_error),
    ]
    if payload:
        facts += [("payload", json.dumps(job.payload)), ("result", json.dumps(job.result))]
    print_facts([(name, value) for name, value in facts if value is not None])
    for attempt in attempts:
        typer.echo("\n" + "\n".join(attempt_lines(attempt)))
    if not payload:
        typer.echo("payload and result are hidden: --payload shows them", err=True)


@jobs.command()
def retry(
    job_ids: JobIds,
    *,
    extra_attempts: Annotated[
        int, typer.Option(metavar="N", help="Attempts to grant beyond max_attempts, where those are used up.")
    ] = 0,
    database_url: DatabaseURL = None,
    schema: Schema = None,
) -> None:
    """Run ended jobs again, now."""

    async def one(queue: JobQueue, job_id: UUID) -> str:
        try:
            await queue.retry(job_id, extra_attempts=extra_attempts)
        except AttemptsExhaustedError as error:
            raise AttemptsExhaustedError(f"{error} (here: --extra-attempts 1)") from error
        return f"{job_id} is pending again"

    run_async(_each(job_ids, one, database_url, schema))


@jobs.command()
def cancel(job_ids: JobIds, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """End jobs: a pending one never starts, a running one is told to stop."""

    async def one(queue: JobQueue, job_id: UUID) -> str:
        match await queue.cancel(job_id):
            case CancelResult.CANCELLED:
                return f"{job_id} is cancelled"
            case CancelResult.REQUESTED:
                return f"{job_id} is running: its worker tells the handler to stop"

    run_async(_each(job_ids, one, database_url, schema))


@jobs.command()
def wait(
    job_id: JobId,
    *,
    timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Give up after so long; default: never.", show_default=False),
    ] = None,
    database_url: DatabaseURL = None,
    schema: Schema = None,
    as_json: AsJSON = False,
) -> None:
    """Wait until a job has ended, with its progress. Exit code 0: completed, 1: failed or cancelled."""

    async def command() -> Job:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            return await wait_for(queue, job_id, timeout, quiet=as_json)

    conclude(run_async(command()), as_json=as_json)


async def _each(
    job_ids: list[UUID],
    act: Callable[[JobQueue, UUID], Awaitable[str]],
    database_url: str | None,
    schema: str | None,
) -> None:
    """Act on every job, also after one refused; then fail if one did."""
    codes: set[ExitCode] = set()
    async with JobQueue(settings=required_database(database_url, schema)) as queue:
        for job_id in job_ids:
            try:
                typer.echo(await act(queue, job_id))
            except JobplaneError as error:
                code = exit_code_of(error)
                if code is ExitCode.UNAVAILABLE:
                    raise
                complain(error)
                codes.add(code)
    if codes:
        raise typer.Exit(codes.pop() if len(codes) == 1 else ExitCode.REFUSED)
