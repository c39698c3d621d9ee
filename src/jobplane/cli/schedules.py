"""`jobplane schedules`: jobs that come back by themselves."""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

import typer

from jobplane.cli.enqueue import payload_of
from jobplane.cli.failures import expected_errors, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, required_database
from jobplane.cli.output import Column, print_json, print_table
from jobplane.cli.present import ago, moment, schedule_document
from jobplane.cli.targets import TasksFrom, client_for
from jobplane.client.info import ScheduleChange, ScheduleInfo
from jobplane.client.queue import JobQueue
from jobplane.job import EnqueueJobResult
from jobplane.schedule import DEFAULT_CAP, RecurringOptions

schedules = typer.Typer(help="Show, make, pause and run schedules.", no_args_is_help=True)

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.", show_default=False)]


@schedules.command("list")
def list_schedules(
    database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False
) -> None:
    """Show all schedules, with their last and next ticks."""

    async def command() -> list[ScheduleInfo]:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            return await queue.list_schedules()

    found = run_async(command())
    if as_json:
        print_json({"schedules": [schedule_document(schedule) for schedule in found]})
        return
    print_table(
        (
            Column("schedule", room=30),
            "cron",
            Column("timezone", optional=True),
            Column("type", room=30),
            Column("queue", room=20, optional=True),
            "last tick",
            "next tick",
            Column("missed", optional=True),
            Column("paused", room=20),
        ),
        [
            (
                schedule.name,
                schedule.cron,
                schedule.timezone,
                schedule.type,
                schedule.queue,
                ago(schedule.last_tick),
                ago(schedule.next_tick),
                schedule.missed,
                moment(schedule.paused_at),
            )
            for schedule in found
        ],
        "no schedules: make one with jobplane schedules create NAME CRON TYPE",
    )


@schedules.command()
def create(  # noqa: PLR0913 - each property of a schedule is one here
    name: Name,
    cron: Annotated[
        str,
        typer.Argument(
            metavar="CRON",
            help="Five fields in quotes, a nickname as @daily, or '@every 90s'.",
            show_default=False,
        ),
    ],
    job_type: Annotated[str, typer.Argument(metavar="TYPE", help="What its jobs do.", show_default=False)],
    payload: Annotated[
        str,
        typer.Argument(
            metavar="PAYLOAD",
            help="A JSON object; @FILE reads it from a file, - from stdin.",
            show_default=False,
        ),
    ] = "{}",
    *,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where its hours and days are meant, as Europe/Berlin.")
    ] = "UTC",
    missed: Annotated[
        str,
        typer.Option(metavar="POLICY", help="What becomes of the ticks of an outage: skip, latest or all."),
    ] = "latest",
    missed_cap: Annotated[
        int, typer.Option(metavar="N", help="With all: at most so many, the last ones.")
    ] = DEFAULT_CAP,
    queue: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The stream of its jobs; default: default.", show_default=False),
    ] = None,
    priority: Annotated[
        int | None, typer.Option(metavar="N", help="0 to 1000, higher first; default 0.", show_default=False)
    ] = None,
    max_attempts: Annotated[
        int | None,
        typer.Option(metavar="N", help="1 to 100, the first try included; default 3.", show_default=False),
    ] = None,
    unique_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="No further job while one with this key is unfinished.", show_default=False
        ),
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="TAG", help="A word to find its jobs by; may be repeated.", show_default=False),
    ] = None,
    tasks: TasksFrom = None,
    database_url: DatabaseURL = None,
    schema: Schema = None,
) -> None:
    """Make a schedule; one of this name becomes this one. Says whether that changed anything."""
    given: dict[str, object] = {
        "queue": queue,
        "priority": priority,
        "max_attempts": max_attempts,
        "unique_key": unique_key,
        "tags": tuple(tag) if tag else None,
    }
    options = cast("RecurringOptions", {key: value for key, value in given.items() if value is not None})
    with expected_errors():
        document = payload_of(payload)
        queue_of_tasks = client_for(tasks, database_url, schema)

    async def command() -> ScheduleChange:
        async with queue_of_tasks as client:
            return await client.create_schedule(
                name,
                cron,
                job_type,
                document,
                timezone=timezone,
                missed=missed,
                missed_cap=missed_cap,
                **options,
            )

    typer.echo(f"schedule {name} {run_async(command()).value}")


@schedules.command()
def pause(name: Name, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Make no further jobs of a schedule."""

    async def command() -> None:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            await queue.pause_schedule(name)

    run_async(command())
    typer.echo(f"schedule {name} is paused: jobplane schedules resume {name} lets it go on")


@schedules.command()
def resume(name: Name, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Make its jobs again, from now on; the ticks of the pause are not made up."""

    async def command() -> None:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            await queue.resume_schedule(name)

    run_async(command())
    typer.echo(f"schedule {name} is not paused")


@schedules.command()
def delete(name: Name, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Forget a schedule; the jobs that it made stay."""

    async def command() -> None:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            await queue.delete_schedule(name)

    run_async(command())
    typer.echo(f"schedule {name} is deleted")


@schedules.command()
def run(name: Name, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Make one job of a schedule now, whatever its ticks; prints the job's id."""

    async def command() -> EnqueueJobResult:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            return await queue.run_schedule(name)

    made = run_async(command())
    if made.existing:
        typer.echo("an unfinished job has its unique key, nothing was written:", err=True)
    typer.echo(made.id)
