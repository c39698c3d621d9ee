"""`jobplane workers`: who works, and who has gone silent."""

from __future__ import annotations

from datetime import timedelta

import typer

from jobplane.cli.failures import run_async
from jobplane.cli.options import AsJSON, DatabaseURL, Schema, required_database
from jobplane.cli.output import Column, print_json, print_table
from jobplane.cli.present import ago, span, worker_document
from jobplane.client.info import WorkerInfo
from jobplane.client.queue import JobQueue

workers = typer.Typer(help="Show workers.", no_args_is_help=True)


@workers.callback()
def group() -> None:
    """Show workers."""


@workers.command("list")
def list_workers(database_url: DatabaseURL = None, schema: Schema = None, *, as_json: AsJSON = False) -> None:
    """Show workers that have not stopped in order, and when each was last heard of."""

    async def command() -> list[WorkerInfo]:
        async with JobQueue(settings=required_database(database_url, schema)) as queue:
            return await queue.list_workers()

    found = run_async(command())
    if as_json:
        print_json({"workers": [worker_document(worker) for worker in found]})
        return
    print_table(
        (
            "worker",
            Column("host", optional=True),
            Column("pid", number=True, optional=True),
            Column("version", optional=True),
            Column("running", number=True),
            Column("queues", room=15),
            Column("started", optional=True),
            "last heard",
            Column("types", room=10, optional=True),
        ),
        [
            (
                worker.id,
                worker.host,
                worker.pid,
                worker.version,
                worker.running,
                ",".join(f"{name}:{limit}" for name, limit in worker.queues.items()),
                ago(worker.started_at),
                f"{span(timedelta(seconds=worker.silent_for))} ago",
                ", ".join(worker.types),
            )
            for worker in found
        ],
        "no workers: start one with jobplane worker MODULE",
    )
