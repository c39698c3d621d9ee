"""The command `jobplane`: joins the groups of verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from jobplane.cli.demo import demo
from jobplane.cli.doctor import doctor
from jobplane.cli.enqueue import enqueue
from jobplane.cli.history import history
from jobplane.cli.jobs import jobs
from jobplane.cli.migrate import migrate
from jobplane.cli.queues import queues
from jobplane.cli.roles import roles
from jobplane.cli.schedules import schedules
from jobplane.cli.tenants import tenants
from jobplane.cli.verify import verify
from jobplane.cli.worker import worker
from jobplane.cli.workers import workers
from jobplane.version import __version__

app = typer.Typer(
    name="jobplane",
    help="A job queue for Python on PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a plain traceback, without the values of locals
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def jobplane(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    """A job queue for Python on PostgreSQL, and nothing beside it."""


app.command()(demo)
app.add_typer(migrate, name="migrate")
app.command()(worker)
app.command()(enqueue)
app.add_typer(jobs, name="jobs")
app.add_typer(queues, name="queues")
app.add_typer(schedules, name="schedules")
app.add_typer(workers, name="workers")
app.add_typer(roles, name="roles")
app.add_typer(tenants, name="tenants")
app.command()(doctor)
app.add_typer(history, name="history")
app.command()(verify)


def run() -> None:
    """The entry point."""
    app()
