"""`jobplane queues`: what waits in each, what nobody can run; stopping, resuming and limiting claims."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import typer

from jobplane.cli.failures import expected_errors, run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, required_database
from jobplane.cli.output import Column, print_json, print_table
from jobplane.cli.present import ago, moment, number_of, queue_document, unclaimable_document
from jobplane.client.info import QueueInfo, Unclaimable
from jobplane.client.queue import JobQueue
from jobplane.errors import InvalidInputError

queues = typer.Typer(help="Show, pause, resume and limit queues.", no_args_is_help=True)

Name: TypeAlias = Annotated[str, typer.Argument(metavar="NAME", help="The queue.", show_default=False)]


@queues.command("list")
def list_queues(database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False) -> None:
    """Show queues that hold unfinished jobs, are served, paused or limited; then due jobs that no living worker can run."""

    async def command() -> tuple[list[QueueInfo], list[Unclaimable]]:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            return await queue.list_queues(), await queue.list_unclaimable()

    found, unclaimable = run_async(command())
    if as_json:
        print_json(
            {
                "queues": [queue_document(queue) for queue in found],
                "unclaimable": [unclaimable_document(item) for item in unclaimable],
            }
        )
        return
    print_table(
        (
            Column("queue", room=30),
            Column("due", number=True),
            Column("later", number=True),
            Column("running", number=True),
            Column("workers", number=True),
            Column("slots", number=True),
            Column("limit", number=True),
            "oldest due",
            Column("paused", room=20),
        ),
        [
            (
                queue.name,
                number_of(queue.due, estimated=queue.estimated),
                number_of(queue.later, estimated=queue.estimated),
                queue.running,
                queue.workers,
                queue.slots,
                queue.max_running,
                ago(queue.oldest_due_at),
                moment(queue.paused_at),
            )
            for queue in found
        ],
        "no queue has unfinished jobs, workers, a pause or a limit",
    )
    if unclaimable:
        typer.echo()
        print_table(
            (
                Column("unclaimable type", room=30),
                Column("queue", room=30),
                Column("jobs", number=True),
                "oldest due",
            ),
            [
                (
                    item.type,
                    item.queue,
                    number_of(item.jobs, estimated=item.estimated),
                    ago(item.oldest_due_at),
                )
                for item in unclaimable
            ],
            "",
        )
        typer.echo(
            "No living worker serves these queues and knows these types: start one that does.", err=True
        )


@queues.command()
def pause(name: Name, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Stop claims from a queue, everywhere; running jobs go on."""

    async def command() -> None:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            await queue.pause_queue(name)

    run_async(command())
    typer.echo(f"queue {name} is paused: jobplane queues resume {name} lets claims go on")


@queues.command()
def resume(name: Name, database_url: DatabaseURL = None, schema: Schema = None) -> None:
    """Let claims from a queue go on."""

    async def command() -> None:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            await queue.resume_queue(name)

    run_async(command())
    typer.echo(f"queue {name} is not paused")


@queues.command()
def limit(
    name: Name,
    jobs: Annotated[
        str, typer.Argument(metavar="N", help="How many jobs, or none to lift the limit.", show_default=False)
    ],
    database_url: DatabaseURL = None,
    schema: Schema = None,
) -> None:
    """Let at most N jobs of a queue run at once, over all workers; with 1 they run in strict order."""

    async def command() -> None:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            await queue.limit_queue(name, most)

    with expected_errors():
        most = _most(jobs)
    run_async(command())
    typer.echo(f"queue {name} has no limit" if most is None else f"queue {name} runs at most {most} at once")


def _most(jobs: str) -> int | None:
    if jobs == "none":
        return None
    # Digits alone: int() would take more, and the client says what the number may be.
    if not jobs.isascii() or not jobs.isdecimal() or len(jobs) > 9:
        raise InvalidInputError("N", jobs, "must be a whole number, or none")
    return int(jobs)
