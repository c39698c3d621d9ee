"""The command `jobplane`: joins the groups of verbs."""

from __future__ import annotations

from typing import Annotated

import typer

from jobplane.cli.worker import worker
from jobplane.version import __version__

app = typer.Typer(
    name="jobplane",
    help="A job queue for Python on PostgreSQL.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a plain traceback, without the values of locals
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def jobplane(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


app.command()(worker)


def run() -> None:
    """The entry point."""
    app()
